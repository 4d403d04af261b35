//! What would have let a connection or request pass: the smallest changes, each found by applying it to a copy of the
//! Snapshot or of what the client did, and asking the deciding functions again. What does not let it pass is not told.
//! Asked by `explain`, on the control thread; never on the data path.

mod accept;
mod names;
mod near;
mod routes;
mod rules;
mod unseen;

use std::fmt;
use std::net::IpAddr;
use std::slice::from_ref;
use std::sync::Arc;

use sidering_identity::{IdentityError, Leaf, PeerIdentity};

use crate::evaluate::Subject;
use crate::{
    Address, Chain, Cluster, Discovery, Endpoint, Facts, Filter, HeaderLookup, Listener, Load, Origin,
    Refusal, RequestFacts, RouteAction, RouteRequest, Snapshot, Token, Trust, WeightedCluster,
    accept as ask_accept, authorize, authorize_tcp, dial, pick, route,
};

/// What is known of a connection or request: all that it is decided by.
#[derive(Clone, Debug)]
pub struct Case {
    /// The listener that took it.
    pub listener: Arc<str>,
    /// From its first bytes.
    pub facts: Facts,
    /// The client's certificate: only where it is spoken to by mutual TLS.
    pub client: Option<Leaf>,
    /// Absent of opaque connections, and where it had not come yet.
    pub request: Option<Asked>,
    /// Who answered, towards the upstream.
    pub server: Option<Answered>,
    /// `ns/name[rule]` of the rule or route that decided. It matched, whatever it asks of headers that are not known.
    pub decided: Option<String>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `:method`.
    pub method: String,
    /// `:authority`, as sent.
    pub authority: String,
    /// Normalised, without its query.
    pub path: String,
    /// As [`RequestFacts::remote_ip`].
    pub remote_ip: IpAddr,
    /// Lower-case names with their values; `None`: not known.
    pub headers: Option<Vec<(String, String)>>,
}

/// A server whose certificate was seen.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The cluster it was taken from.
    pub cluster: Arc<str>,
    /// The endpoint.
    pub address: Address,
    /// Its certificate.
    pub leaf: Leaf,
}

/// What the deciding functions say to a [`Case`], and to what is like it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why it is refused. `None`: it passes, as far as it is known.
    pub refused: Option<String>,
    /// The smallest first; empty where nothing that is tried here helps.
    pub remedies: Vec<Remedy>,
    /// Conditions on headers took part, and the request's headers are not known.
    pub unseen_headers: bool,
}

/// Changes that let it pass, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// At least one, in the order in which they stand in the way.
    pub changes: Vec<Change>,
}

/// One change, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do there; without `at` a sentence of its own, about the client or the server.
    pub what: String,
    /// The resource and line to change.
    pub at: Option<Origin>,
}

/// How many remedies are told.
const TOLD: usize = 3;
/// How many ways on are tried where something stands in the way.
const WAYS: usize = 4;
/// How often the deciding functions are asked, at most.
const PATIENCE: usize = 64;

/// A slip corrected is smaller than any other change.
const SLIP: u32 = 1;
const PLAIN: u32 = 2;
/// What admits more than was asked for, or adds something new.
const BROAD: u32 = 3;

/// What would let `case` pass under `snapshot`.
pub fn remedies(snapshot: &Arc<Snapshot>, case: &Case) -> Answer {
    let mut world = World { snapshot: snapshot.clone(), case: case.clone() };
    let unseen_headers = unseen::set_aside(&mut world);
    let Err(stop) = world.ask() else { return Answer { unseen_headers, ..Answer::default() } };
    let mut answer = Answer { refused: Some(stop.to_string()), remedies: Vec::new(), unseen_headers };
    let mut open = vec![Attempt { cost: 0, changes: Vec::new(), met: Vec::new(), filed: false, world }];
    for _ in 0..PATIENCE {
        // The first of the smallest, so that those of equal size stay in the order of the rules.
        let Some(next) = (0..open.len()).min_by_key(|&index| open[index].cost) else { break };
        let attempt = open.remove(next);
        match attempt.world.ask() {
            Ok(()) => answer.remedies.push(Remedy { changes: attempt.changes }),
            // A change that did not get past what it was made for.
            Err(stop) if attempt.met.contains(&stop.to_string()) => {}
            Err(stop) => open.extend(attempt.ways_past(&stop)),
        }
        if answer.remedies.len() == TOLD {
            break;
        }
    }
    answer
}

/// Changes so far, and how the world is with them.
struct Attempt {
    cost: u32,
    changes: Vec<Change>,
    /// What stood in the way before each.
    met: Vec<String>,
    /// One of them is in a file.
    filed: bool,
    world: World,
}

/// A configuration, and who asks.
#[derive(Clone)]
struct World {
    snapshot: Arc<Snapshot>,
    case: Case,
}

/// One change and what it makes of the world.
struct Way {
    cost: u32,
    /// The client or the server is another.
    wire: bool,
    change: Change,
    world: World,
}

/// What stands in the way first.
enum Stop {
    Accept(Refusal),
    Client(IdentityError),
    Authorize(Refusal, Arc<Chain>),
    Route(Refusal, Arc<Chain>),
    Server(IdentityError, Arc<Endpoint>),
}

impl Attempt {
    fn ways_past(&self, stop: &Stop) -> impl Iterator<Item = Self> {
        let mut ways = match stop {
            Stop::Accept(refusal) => accept::ways(&self.world, refusal),
            Stop::Client(error) => names::of_client(&self.world, error),
            Stop::Authorize(refusal, chain) => rules::ways(&self.world, refusal, chain),
            Stop::Route(refusal, chain) => routes::ways(&self.world, refusal, chain),
            Stop::Server(error, endpoint) => names::of_server(&self.world, error, endpoint),
        };
        // Whoever changes a file would not then come in another way, too.
        ways.retain(|way| !(way.wire && self.filed));
        ways.sort_by_key(|way| way.cost);
        ways.truncate(WAYS);
        let met = stop.to_string();
        ways.into_iter().map(move |Way { cost, wire, change, world }| Self {
            cost: self.cost + cost,
            changes: self.changes.iter().cloned().chain([change]).collect(),
            met: self.met.iter().cloned().chain([met.clone()]).collect(),
            filed: self.filed || !wire,
            world,
        })
    }
}

impl World {
    /// The way of the data path, as far as the case is known.
    fn ask(&self) -> Result<(), Stop> {
        let Self { snapshot, case } = self;
        let chain = ask_accept(snapshot, &case.listener, &case.facts).map_err(Stop::Accept)?;
        if chain.tls.is_some() && case.client.is_none() {
            return Ok(());
        }
        let peer = self.peer(chain).transpose().map_err(Stop::Client)?;
        let authorized = |refusal| Stop::Authorize(refusal, chain.clone());
        let routed = |refusal| Stop::Route(refusal, chain.clone());
        match (&chain.filter, &case.request) {
            (Filter::Tcp(clusters), _) => {
                authorize_tcp(&chain.authorization, &case.facts, peer.as_ref()).map_err(authorized)?;
                self.reach(clusters, &chain.origin).map_err(routed)?;
            }
            (Filter::Http(_), None) => return Ok(()),
            (Filter::Http(table), Some(request)) => {
                let header = request.header();
                authorize(&chain.authorization, &case.facts, peer.as_ref(), &request.facts(&header))
                    .map_err(authorized)?;
                let found = route(snapshot, table, &request.route(&header), 0).map_err(routed)?;
                if let RouteAction::Forward { clusters, .. } = &found.route.action {
                    self.reach(clusters, &found.route.origin).map_err(routed)?;
                }
            }
        }
        self.server()
    }

    /// Each cluster has its share of the traffic, and needs an endpoint.
    fn reach(&self, clusters: &[WeightedCluster], origin: &Origin) -> Result<(), Refusal> {
        let taken = |cluster: &&WeightedCluster| cluster.weight > 0 || clusters.len() == 1;
        for cluster in clusters.iter().filter(taken) {
            endpoint_of(dial(&self.snapshot, from_ref(cluster), origin, 0)?)?;
        }
        Ok(())
    }

    /// Secure naming, where it is known who answered.
    fn server(&self) -> Result<(), Stop> {
        let Some(server) = &self.case.server else { return Ok(()) };
        let Some(endpoint) = self.snapshot.cluster(&server.cluster).and_then(|c| server.endpoint(c)) else {
            return Ok(());
        };
        let Some(tls) = endpoint.tls.as_ref().filter(|tls| tls.trust == Trust::Mesh) else { return Ok(()) };
        PeerIdentity::of(server.leaf.clone(), &self.snapshot.trust_domains)
            .and_then(|peer| tls.sans.check(&peer.leaf))
            .map_err(|error| Stop::Server(error, endpoint.clone()))
    }

    /// The client's identity on a chain that asks for one.
    fn peer(&self, chain: &Chain) -> Option<Result<PeerIdentity, IdentityError>> {
        let leaf = chain.tls.is_some().then_some(self.case.client.as_ref()?)?;
        Some(PeerIdentity::of(leaf.clone(), &self.snapshot.trust_domains))
    }

    /// What the rules of a chain are asked about.
    fn about<T>(&self, chain: &Chain, ask: impl FnOnce(&Subject<'_>) -> T) -> T {
        let peer = self.peer(chain).and_then(Result::ok);
        let request = self.case.request.as_ref().filter(|_| matches!(chain.filter, Filter::Http(_)));
        let header = request.map(Asked::header);
        let facts = request.zip(header.as_ref()).map(|(request, header)| request.facts(header));
        ask(&Subject { facts: &self.case.facts, peer: peer.as_ref(), request: facts.as_ref() })
    }

    fn listener(&self) -> Option<&Arc<Listener>> {
        self.snapshot.listener(&self.case.listener)
    }

    /// The same with another client.
    fn with_case(&self, change: impl FnOnce(&mut Case)) -> Self {
        let mut world = self.clone();
        change(&mut world.case);
        world
    }

    /// The same with another configuration.
    fn with_snapshot(&self, change: impl FnOnce(&mut Snapshot)) -> Self {
        let mut world = self.clone();
        change(Arc::make_mut(&mut world.snapshot));
        world
    }

    /// The same with other chains at the case's listener.
    fn with_chains(&self, change: impl FnOnce(&mut Vec<Arc<Chain>>)) -> Self {
        self.with_snapshot(|snapshot| {
            let own = snapshot.listeners.iter_mut().find(|listener| listener.name == self.case.listener);
            if let Some(listener) = own.map(Arc::make_mut) {
                let mut chains = listener.chains.to_vec();
                change(&mut chains);
                listener.chains = chains.into();
            }
        })
    }
}

/// Called with every value of a header.
pub type EachValue<'f> = dyn FnMut(&[u8]) + 'f;

impl Asked {
    /// For [`Asked::facts`] and [`Asked::route`].
    pub fn header(&self) -> impl Fn(&str, &mut EachValue<'_>) + '_ {
        let headers = self.headers.as_deref().unwrap_or_default();
        move |name, each| {
            headers.iter().filter(|(own, _)| own == name).for_each(|(_, value)| each(value.as_bytes()));
        }
    }

    /// What rules read of it.
    pub fn facts<'a>(&'a self, header: HeaderLookup<'a>) -> RequestFacts<'a> {
        let Self { method, authority, path, remote_ip, .. } = self;
        RequestFacts { method, authority, path, remote_ip: *remote_ip, token: Token::Unverified, header }
    }

    /// What routes read of it. Plaintext arrives as `http`, and what TLS ended is forwarded so.
    pub fn route<'a>(&'a self, header: HeaderLookup<'a>) -> RouteRequest<'a> {
        RouteRequest {
            method: &self.method,
            authority: &self.authority,
            scheme: "http",
            path: &self.path,
            header,
        }
    }
}

impl Answered {
    fn endpoint<'c>(&self, cluster: &'c Cluster) -> Option<&'c Arc<Endpoint>> {
        let Discovery::Static(endpoints) = &cluster.discovery else { return None };
        endpoints.iter().find(|endpoint| endpoint.address == self.address)
    }
}

/// As the data path picks, when nothing is known of load.
fn endpoint_of(cluster: &Cluster) -> Result<(), Refusal> {
    struct Idle;
    impl Load for Idle {
        fn active(&self, _: &Endpoint) -> u32 {
            0
        }
        fn ejected(&self, _: &Endpoint) -> bool {
            false
        }
        fn next_turn(&self) -> u64 {
            0
        }
    }
    match cluster.discovery {
        Discovery::OriginalDestination => Ok(()),
        Discovery::Static(_) | Discovery::BlackHole => pick(cluster, &Idle, 0, &[]).map(drop),
    }
}

/// Of the client or the server.
fn on_the_wire(cost: u32, what: impl Into<String>, world: World) -> Way {
    Way { cost, wire: true, change: Change { what: what.into(), at: None }, world }
}

/// Of a resource.
fn in_a_file(cost: u32, what: impl Into<String>, at: &Origin, world: World) -> Way {
    Way { cost, wire: false, change: Change { what: what.into(), at: Some(at.clone()) }, world }
}

/// `a`, `b` or `c`; so many, and no more.
fn any_of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<String> = texts.into_iter().map(|text| format!("`{}`", text.as_ref())).collect();
    match all.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] if all.len() <= SHOWN => format!("{} or {last}", first.join(", ")),
        _ => format!("{} or {} others", all[..SHOWN].join(", "), all.len() - SHOWN),
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(refusal) | Self::Authorize(refusal, _) | Self::Route(refusal, _) => refusal.fmt(f),
            Self::Client(error) | Self::Server(error, _) => error.fmt(f),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.changes.iter().enumerate() {
            write!(f, "{}{change}", if index > 0 { "; and " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
