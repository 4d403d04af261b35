//! The way of a connection to each endpoint, step by step, until one refuses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::slice::from_ref;
use std::sync::Arc;

use sidering_istio::{Effective, Endpoint as Placed, Workload};
use sidering_policy::{
    Address, Answer, Answered, BindAddress, Case, Chain, Cluster, Destination, Direction, Discovery, Facts,
    Filter, Inside, Origin, Peer, Refusal, RouteAction, Snapshot, Transport, Trust, UpstreamTls,
    WeightedCluster, accept, authorize, authorize_tcp, dial, remedies, route,
};

use super::Connection;
use crate::world::{CAPTURED_INBOUND, CAPTURED_OUTBOUND, World, certificate, snapshot, tls_mode};

/// Dialled where no file says what: nobody's (RFC 2544).
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 19, 0, 1));

/// To one endpoint, or as far as it comes.
#[derive(Clone, Default)]
pub(super) struct Way {
    pub(super) steps: Vec<Step>,
    /// Why the last step refuses, and what would let it pass.
    pub(super) refused: Option<(String, Answer)>,
}

/// What happens, and by whose word.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) says: String,
    pub(super) at: Option<Origin>,
}

impl Way {
    pub(super) fn passes(&self) -> bool {
        self.refused.is_none()
    }

    fn step(&mut self, name: &'static str, says: impl Into<String>, at: Option<&Origin>) {
        self.steps.push(Step { name, says: says.into(), at: at.cloned() });
    }

    /// The last step.
    fn refused(mut self, name: &'static str, why: &str, snapshot: &Arc<Snapshot>, case: &Case) -> Self {
        self.step(name, format!("refused: {why}"), None);
        self.refused = Some((why.to_owned(), remedies(snapshot, case)));
        self
    }
}

/// # Errors
/// What is wrong with the files.
pub(super) fn ways(world: &World, asked: &Connection) -> Result<Vec<Way>, String> {
    let effective = world.effective(&asked.client);
    match asked.sidecar {
        true => by_sidecar(world, asked, &effective),
        false => without_sidecar(world, asked, &effective),
    }
}

/// The client connects to the endpoints itself.
fn without_sidecar(world: &World, asked: &Connection, effective: &Effective) -> Result<Vec<Way>, String> {
    let behind = asked.service.as_ref().map(|host| effective.behind(host, asked.port)).unwrap_or_default();
    let servers = distinct(behind.into_iter().map(|server| (server, None)));
    if servers.is_empty() {
        return Err(format!("no resource lists an endpoint of {} for port {}", asked.host, asked.port));
    }
    let mut ways = Vec::new();
    for (server, _) in servers {
        let mut way = Way::default();
        way.step("client", "has no sidecar: it speaks plaintext", None);
        ways.push(arrives(world, asked, way, &server, None)?);
    }
    Ok(ways)
}

/// One of each kind: endpoints of the same workload under the same TLS fare alike.
fn distinct(
    servers: impl Iterator<Item = (Placed, Option<Arc<UpstreamTls>>)>,
) -> Vec<(Placed, Option<Arc<UpstreamTls>>)> {
    let mut kinds: Vec<(Placed, Option<Arc<UpstreamTls>>)> = Vec::new();
    for (server, tls) in servers {
        let same = |(other, by): &(Placed, Option<Arc<UpstreamTls>>)| {
            let (one, two): (&Workload, &Workload) = (&other.workload, &server.workload);
            one.namespace == two.namespace
                && one.service_account == two.service_account
                && one.labels == two.labels
                && other.port == server.port
                && *by == tls
        };
        if !kinds.iter().any(same) {
            kinds.push((server, tls));
        }
    }
    kinds
}

/// The client's side.
struct Client<'a> {
    world: &'a World,
    asked: &'a Connection,
    effective: &'a Effective,
    snapshot: Arc<Snapshot>,
    case: Case,
}

fn by_sidecar(world: &World, asked: &Connection, effective: &Effective) -> Result<Vec<Way>, String> {
    let snapshot = Arc::new(snapshot(effective)?);
    let mut case = outbound_case(asked, effective, &snapshot);
    // HTTP that no chain takes as such is bytes, to the server's sidecar too.
    let chain = accept(&snapshot, &case.listener, &case.facts);
    if chain.is_ok_and(|chain| matches!(chain.filter, Filter::Tcp(_))) {
        case.request = None;
    }
    let asked = &Connection { request: case.request.clone(), ..asked.clone() };
    let client = Client { world, asked, effective, snapshot, case };
    let mut way = Way::default();
    if asked.service.is_none() {
        way.step("host", format!("no resource that the client sees declares {}", asked.host), None);
    }
    let speaks = if asked.request.is_some() { "HTTP" } else { "bytes" };
    way.step("client", format!("{} sends {speaks} to its sidecar", asked.id), None);
    let clusters = match choose(&client.snapshot, &client.case) {
        Ok(Chosen::Clusters(clusters, by)) => {
            let names: Vec<&str> = clusters.iter().map(|cluster| &*cluster.name).collect();
            way.step("route", names.join(" and "), Some(&by));
            clusters
        }
        Ok(Chosen::Answer(status, by)) => {
            way.step("route", format!("answered with {status}"), Some(&by));
            return Ok(vec![way]);
        }
        Err(refusal) => return Ok(vec![client.refused(way, "route", &refusal)]),
    };
    let mut ways = Vec::new();
    for cluster in clusters {
        ways.extend(client.to_cluster(&way, &cluster)?);
    }
    Ok(ways)
}

impl Client<'_> {
    fn refused(&self, way: Way, step: &'static str, refusal: &Refusal) -> Way {
        way.refused(step, &refusal.to_string(), &self.snapshot, &self.case)
    }

    fn to_cluster(&self, way: &Way, cluster: &Cluster) -> Result<Vec<Way>, String> {
        let endpoints = match &cluster.discovery {
            Discovery::Static(endpoints) => endpoints,
            Discovery::OriginalDestination | Discovery::BlackHole => {
                let mut way = way.clone();
                let says = "passed on in plaintext to the address that was dialled: no resource declares it";
                way.step("dial", says, Some(&cluster.origin));
                return Ok(vec![way]);
            }
        };
        if endpoints.is_empty() {
            let (cluster, origin) = (cluster.name.clone(), cluster.origin.clone());
            return Ok(vec![self.refused(way.clone(), "dial", &Refusal::NoEndpoint { cluster, origin })]);
        }
        let (host, port) = host_of(&cluster.name);
        let behind = self.effective.behind(host, port);
        let placed = endpoints.iter().filter_map(|endpoint| {
            let server = behind.iter().find(|server| server.address == endpoint.address)?;
            Some((server.clone(), endpoint.tls.clone()))
        });
        let each = distinct(placed).into_iter();
        each.map(|(server, tls)| self.to_server(way.clone(), cluster, &server, tls.as_deref())).collect()
    }

    fn to_server(
        &self,
        mut way: Way,
        cluster: &Cluster,
        server: &Placed,
        tls: Option<&UpstreamTls>,
    ) -> Result<Way, String> {
        way.step("dial", spoken(tls, self.asked), tls.map(|tls| &tls.origin));
        if let Some(tls) = tls.filter(|tls| tls.trust == Trust::Mesh) {
            let Workload { namespace, service_account, .. } = &server.workload;
            let domain = &self.world.mesh.trust_domain;
            let name = format!("spiffe://{domain}/ns/{namespace}/sa/{service_account}");
            let leaf = certificate(name.clone());
            if let Err(error) = tls.sans.check(&leaf) {
                let address = server.address.clone();
                let server = Some(Answered { cluster: cluster.name.clone(), address, leaf });
                let case = Case { server, ..self.case.clone() };
                return Ok(way.refused("naming", &error.to_string(), &self.snapshot, &case));
            }
            let whom = if tls.sans.0.is_empty() { "nobody in particular is expected" } else { "as expected" };
            way.step("naming", format!("the server is {name}, {whom}"), None);
        }
        arrives(self.world, self.asked, way, server, tls)
    }
}

/// `outbound|PORT|SUBSET|HOST`.
fn host_of(cluster: &str) -> (&str, u16) {
    let mut parts = cluster.splitn(4, '|').skip(1);
    let port = parts.next().and_then(|port| port.parse().ok()).unwrap_or_default();
    (parts.nth(1).unwrap_or_default(), port)
}

fn inside(asked: &Connection) -> Inside {
    if asked.request.is_some() { Inside::Http11 } else { Inside::Tcp }
}

fn spoken(tls: Option<&UpstreamTls>, asked: &Connection) -> String {
    let Some(tls) = tls else { return "in plaintext".to_owned() };
    let authority = asked.request.as_ref().map(|request| request.authority.as_str());
    let name = tls.sni.name(authority).map_or("no SNI".to_owned(), |name| format!("SNI {name}"));
    let expected: Vec<String> = tls.sans.0.iter().map(|san| format!("{} ({})", san.name, san.from)).collect();
    let expected =
        if expected.is_empty() { String::new() } else { format!(", expects {}", expected.join(" or ")) };
    format!("by {}, {name}{expected}", tls_mode(Some(tls)))
}

enum Chosen {
    Clusters(Vec<Arc<Cluster>>, Origin),
    Answer(u16, Origin),
}

/// Every cluster that the connection may be sent to.
fn choose(snapshot: &Snapshot, case: &Case) -> Result<Chosen, Refusal> {
    let chain = accept(snapshot, &case.listener, &case.facts)?;
    let all = |clusters: &[WeightedCluster], origin: &Origin| {
        let taken = |cluster: &&WeightedCluster| cluster.weight > 0 || clusters.len() == 1;
        let each = clusters.iter().filter(taken);
        let each = each.map(|cluster| dial(snapshot, from_ref(cluster), origin, 0).cloned());
        Ok(Chosen::Clusters(each.collect::<Result<_, _>>()?, origin.clone()))
    };
    match (&chain.filter, &case.request) {
        (Filter::Http(table), Some(request)) => {
            let header = request.header();
            let found = route(snapshot, table, &request.route(&header), 0)?.route;
            match &found.action {
                RouteAction::Forward { clusters, .. } => all(clusters, &found.origin),
                RouteAction::Respond { status, .. } => Ok(Chosen::Answer(*status, found.origin.clone())),
            }
        }
        (Filter::Http(table), None) => {
            Err(Refusal::NoChain { port: case.facts.destination.0.port(), origin: table.origin.clone() })
        }
        (Filter::Tcp(clusters), _) => all(clusters, &chain.origin),
    }
}

fn outbound_case(asked: &Connection, effective: &Effective, snapshot: &Snapshot) -> Case {
    let dialled = asked.service.as_ref().and_then(|host| effective.addresses_of(host).first().copied());
    let ip = asked.host.parse().ok().or(dialled).unwrap_or(SOMEWHERE);
    let (listener, destination) = listener_at(snapshot, Direction::Outbound, SocketAddr::new(ip, asked.port));
    case(asked, listener, destination, None)
}

/// A Sidecar's own listener of that port, else the one that takes captured traffic.
fn listener_at(snapshot: &Snapshot, direction: Direction, to: SocketAddr) -> (Arc<str>, SocketAddr) {
    let own = snapshot.listeners.iter().find_map(|listener| match listener.bind {
        BindAddress::Tcp(bind)
            if listener.direction == direction && !listener.captures && bind.port() == to.port() =>
        {
            Some((listener.name.clone(), bind))
        }
        _ => None,
    });
    let captured = match direction {
        Direction::Inbound => CAPTURED_INBOUND,
        Direction::Outbound => CAPTURED_OUTBOUND,
    };
    own.unwrap_or_else(|| (captured.into(), to))
}

fn case(asked: &Connection, listener: Arc<str>, destination: SocketAddr, tls: Option<&UpstreamTls>) -> Case {
    let authority = asked.request.as_ref().map(|request| request.authority.as_str());
    let protocols: Vec<Arc<str>> = match tls {
        Some(tls) => tls.alpn.offered(inside(asked)),
        None => asked.request.as_ref().map(|_| "http/1.1".into()).into_iter().collect(),
    };
    let mesh = tls.is_some_and(|tls| tls.trust == Trust::Mesh);
    Case {
        listener,
        facts: Facts {
            peer: Peer(asked.address),
            destination: Destination(destination),
            transport: if tls.is_some() { Transport::Tls } else { Transport::Raw },
            server_name: tls.and_then(|tls| tls.sni.name(authority)).map(|name| (*name).into()),
            application_protocols: protocols.iter().map(|token| (**token).into()).collect(),
        },
        client: mesh.then(|| certificate(asked.id.to_string())),
        request: asked.request.clone(),
        server: None,
        decided: None,
    }
}

/// The server's side.
fn arrives(
    world: &World,
    asked: &Connection,
    mut way: Way,
    server: &Placed,
    tls: Option<&UpstreamTls>,
) -> Result<Way, String> {
    let Workload { namespace, service_account, .. } = &server.workload;
    let at = match &server.address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
    };
    way.step("server", format!("{at} is {namespace}/{service_account} as listed"), Some(&server.origin));
    if !server.has_sidecar {
        way.step("accept", "it has no sidecar, as far as the files say: nothing else is asked", None);
        return Ok(way);
    }
    let effective = world.effective(&server.workload);
    let snapshot = Arc::new(snapshot(&effective)?);
    let ip = server.workload.addresses.first().copied().unwrap_or(SOMEWHERE);
    let (listener, destination) =
        listener_at(&snapshot, Direction::Inbound, SocketAddr::new(ip, server.port));
    let case = case(asked, listener, destination, tls);
    let authentication = effective.authentication();
    let decided = authentication.ports.get(&server.port).unwrap_or(&authentication.mode);
    let chain = match accept(&snapshot, &case.listener, &case.facts) {
        Ok(chain) => chain,
        Err(refusal) => return Ok(way.refused("accept", &refusal.to_string(), &snapshot, &case)),
    };
    let taken = if chain.tls.is_some() { "mutual TLS is taken" } else { "it is taken as it comes" };
    way.step("accept", format!("port {} is {}: {taken}", server.port, decided.mode), Some(&decided.by));
    admitted(way, &snapshot, &case, chain)
}

fn admitted(mut way: Way, snapshot: &Arc<Snapshot>, case: &Case, chain: &Chain) -> Result<Way, String> {
    let leaf = case.client.as_ref().filter(|_| chain.tls.is_some());
    let peer =
        match leaf.map(|leaf| sidering_identity::PeerIdentity::of(leaf.clone(), &snapshot.trust_domains)) {
            Some(Err(error)) => return Ok(way.refused("identity", &error.to_string(), snapshot, case)),
            found => found.and_then(Result::ok),
        };
    let permit = match (&chain.filter, &case.request) {
        (Filter::Http(_), Some(request)) => {
            let header = request.header();
            authorize(&chain.authorization, &case.facts, peer.as_ref(), &request.facts(&header))
        }
        _ => authorize_tcp(&chain.authorization, &case.facts, peer.as_ref()),
    };
    match permit {
        Ok(permit) => {
            let mut says = match permit.by() {
                Some(_) => "allowed".to_owned(),
                None => "no ALLOW policy holds, and no DENY rule matches: allowed".to_owned(),
            };
            if let Some(origin) = permit.would_deny() {
                says += &format!("; in a dry run, {origin} would not");
            }
            way.step("authorize", says, permit.by());
            Ok(way)
        }
        Err(refusal) => Ok(way.refused("authorize", &refusal.to_string(), snapshot, case)),
    }
}
