//! From a cluster to a connection that may be used: pick an endpoint, take a pooled connection or make one, speak
//! TLS if the endpoint wants it, and check who answered. Retries of connecting are here; those of a request that was
//! sent are the forwarding's.

mod load;
mod pool;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sidering_http::Client;
use sidering_identity::{PeerIdentity, peer_identity};
use sidering_net::{Prefixed, TcpStream, Timer, now};
use sidering_policy::{Address, Cluster, Direction, Discovery, Endpoint, Refusal, Trust, UpstreamTls, pick};
use sidering_tls::{ClientConfig, Handshake};

pub(crate) use load::{InFlight, Loads};
pub(crate) use pool::{Key, Pool};

use crate::connection::{Connection, MeshPeer};
use crate::io::Io;
use crate::live::Protocol;
use crate::refused::{Refused, Stage, expected};
use crate::status::{Security, Span};
use crate::{Expected, Phase, Reason};

/// What was established with an upstream; shared by the exchanges that its connection carries.
pub(crate) struct Established {
    pub(crate) key: Key,
    pub(crate) endpoint: Arc<Endpoint>,
    /// Our side of the connection, for the access log.
    pub(crate) local: String,
    pub(crate) tls: Option<Handshake>,
    /// With [`Trust::Mesh`]: who answered.
    pub(crate) identity: Option<PeerIdentity>,
    /// [`crate::live::Live::roots_lost`] when the handshake began.
    roots_lost: u64,
}

/// A connection to an upstream that speaks HTTP, between two exchanges.
pub(crate) struct Upstream {
    pub(crate) client: Client<Io>,
    pub(crate) established: Rc<Established>,
    /// How many exchanges it has carried.
    pub(crate) carried: u32,
    /// Limits how long each waits for its answer.
    pub(crate) patience: Timer,
}

/// How often something may be tried again, and what was tried.
pub(crate) struct Attempts {
    left: u32,
    /// When the first began; idle connections are judged by it.
    began: Instant,
    tried: Vec<Arc<Endpoint>>,
    /// Pooled connections are not trusted any more: one was closed under the request.
    fresh: bool,
}

impl Attempts {
    pub(crate) fn new(retries: u32, began: Instant) -> Self {
        Self { left: retries, began, tried: Vec::new(), fresh: false }
    }

    /// Uses up one retry, if there is one.
    pub(crate) fn again(&mut self) -> bool {
        let again = self.left > 0;
        self.left = self.left.saturating_sub(1);
        again
    }

    /// The next connection is a new one, to any endpoint.
    pub(crate) fn distrust_pool(&mut self) {
        self.fresh = true;
    }

    fn untried(&self, cluster: &Cluster) -> bool {
        let Discovery::Static(endpoints) = &cluster.discovery else { return false };
        endpoints.iter().any(|endpoint| !self.tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)))
    }
}

/// A connection for one exchange, pooled or new. `host` is the request's, for clusters that ask for it by SNI.
pub(crate) async fn checkout<'a>(
    connection: &'a Connection,
    cluster: &Arc<Cluster>,
    host: Option<&str>,
    attempts: &mut Attempts,
) -> Stage<(Upstream, InFlight<'a>)> {
    let pool = &connection.core.pool;
    loop {
        let endpoint = next_endpoint(connection, cluster, attempts)?;
        let in_flight = in_flight(connection, cluster, &endpoint);
        let key = key(connection, cluster, &endpoint, host, Protocol::Http)?;
        let pooled = if attempts.fresh { None } else { pool.take(&key, attempts.began) };
        if let Some(upstream) = pooled {
            return Ok((upstream, in_flight));
        }
        // Boxed, as below: most exchanges find a pooled connection, and need no room for a handshake.
        match Box::pin(establish(connection, cluster, &endpoint, key, Protocol::Http)).await {
            Ok((io, established)) => {
                let client = Client::http1(io, &connection.core.limits);
                return Ok((
                    Upstream {
                        client,
                        established: Rc::new(established),
                        carried: 0,
                        patience: Timer::at(now()),
                    },
                    in_flight,
                ));
            }
            Err(refused) => try_another(connection, cluster, endpoint, attempts, refused)?,
        }
    }
}

/// A connection for opaque bytes: always a new one.
pub(crate) async fn dial<'a>(
    connection: &'a Connection,
    cluster: &Arc<Cluster>,
    retries: u32,
) -> Stage<(Io, Rc<Established>, InFlight<'a>)> {
    let mut attempts = Attempts::new(retries, now());
    loop {
        let endpoint = next_endpoint(connection, cluster, &attempts)?;
        let in_flight = in_flight(connection, cluster, &endpoint);
        let key = key(connection, cluster, &endpoint, None, Protocol::Tcp)?;
        match Box::pin(establish(connection, cluster, &endpoint, key, Protocol::Tcp)).await {
            Ok((io, established)) => return Ok((io, Rc::new(established), in_flight)),
            Err(refused) => try_another(connection, cluster, endpoint, &mut attempts, refused)?,
        }
    }
}

/// Goes on only where another endpoint is left: the one that just failed is avoided, as Istio's
/// `retryHostPredicate: previous_hosts` does.
fn try_another(
    connection: &Connection,
    cluster: &Cluster,
    failed: Arc<Endpoint>,
    attempts: &mut Attempts,
    refused: Box<Refused>,
) -> Stage<()> {
    attempts.tried.push(failed);
    attempts.began = now();
    if refused.reason.retryable() && attempts.untried(cluster) && attempts.again() {
        connection.core.counters().retries.add(1);
        return Ok(());
    }
    Err(refused)
}

fn next_endpoint(
    connection: &Connection,
    cluster: &Arc<Cluster>,
    attempts: &Attempts,
) -> Stage<Arc<Endpoint>> {
    let core = &connection.core;
    let picked = match cluster.discovery {
        Discovery::Static(_) | Discovery::BlackHole => {
            let load = core.loads.of(&cluster.name);
            pick(cluster, &*load, core.entropy(), &attempts.tried).cloned()
        }
        // Without capture the destination is our own listener: nothing says where else to go.
        Discovery::OriginalDestination if !connection.captured => {
            Err(Refusal::NoRoute { virtual_host: cluster.name.clone(), origin: cluster.origin.clone() })
        }
        Discovery::OriginalDestination => Ok(Arc::new(Endpoint {
            address: Address::Tcp(connection.destination.0),
            weight: 1,
            tls: None,
            origin: cluster.origin.clone(),
        })),
    };
    picked.map_err(|refusal| Refused::decided(&refusal).towards(&cluster.name, None))
}

fn in_flight<'a>(connection: &'a Connection, cluster: &Cluster, endpoint: &Endpoint) -> InFlight<'a> {
    let core = &connection.core;
    core.loads.begin(&cluster.name, &endpoint.address, &core.counters().upstream_active)
}

/// Everything that a connection depends on: two exchanges share one only if all of it is equal.
fn key(
    connection: &Connection,
    cluster: &Cluster,
    endpoint: &Endpoint,
    host: Option<&str>,
    protocol: Protocol,
) -> Stage<Key> {
    let plain =
        Key { cluster: cluster.name.clone(), address: endpoint.address.clone(), tls: 0, server_name: None };
    let Some(tls) = &endpoint.tls else { return Ok(plain) };
    let Originate { version, .. } = originate(connection, cluster, tls, protocol)
        .ok_or_else(|| unable(connection, cluster, endpoint, tls))?;
    Ok(Key { tls: version, server_name: tls.sni.name(host), ..plain })
}

/// How TLS is spoken to an endpoint.
struct Originate {
    config: ClientConfig,
    /// [`crate::live::Client::version`].
    version: u64,
    /// [`crate::live::Live::roots_lost`] as of this configuration.
    roots_lost: u64,
}

/// As of now.
fn originate(
    connection: &Connection,
    cluster: &Cluster,
    tls: &UpstreamTls,
    protocol: Protocol,
) -> Option<Originate> {
    let live = connection.core.live();
    let client = live.client(&cluster.name, tls, protocol)?;
    let (config, version) = (client.config.clone(), client.version);
    Some(Originate { config, version, roots_lost: live.roots_lost })
}

/// Why there is no way to speak TLS to an endpoint: a retry asks again, and by then its cluster may be another.
fn unable(
    connection: &Connection,
    cluster: &Cluster,
    endpoint: &Endpoint,
    tls: &UpstreamTls,
) -> Box<Refused> {
    let (reason, why) = match connection.core.live().credentials {
        None => (Reason::NoCredentials, "no certificate or trust bundle has arrived yet"),
        Some(_) => {
            (Reason::ConfigurationChanged, "the cluster or its TLS settings changed before this attempt")
        }
    };
    Refused::new(Phase::Handshake, reason, why)
        .because_of(&tls.origin)
        .towards(&cluster.name, Some(shown(&endpoint.address)))
}

/// As [`connect`], again where a root was taken away or a trust domain left meanwhile: what was verified with the old
/// ones may not be used. Large, so callers box it: it is seldom, and what awaits it is kept small.
async fn establish(
    connection: &Connection,
    cluster: &Cluster,
    endpoint: &Arc<Endpoint>,
    key: Key,
    protocol: Protocol,
) -> Stage<(Io, Established)> {
    let believed = |established: &Established| {
        let live = connection.core.live();
        established.mesh_peer().map_or(Ok(()), |peer| peer.still_believed(&live))
    };
    let began = now();
    let (io, established) = connect(connection, cluster, endpoint, key.clone(), protocol).await?;
    connection.tally().took(Span::Connect, now() - began);
    if believed(&established).is_ok() {
        return Ok((io, established));
    }
    drop(io);
    let (io, established) = connect(connection, cluster, endpoint, key, protocol).await?;
    believed(&established)?;
    Ok((io, established))
}

/// Connects, and speaks TLS, within the cluster's connect timeout: for both together, as Envoy.
async fn connect(
    connection: &Connection,
    cluster: &Cluster,
    endpoint: &Arc<Endpoint>,
    key: Key,
    protocol: Protocol,
) -> Stage<(Io, Established)> {
    let deadline = now() + cluster.connect_timeout;
    let decided = endpoint.tls.as_ref().and_then(|tls| originate(connection, cluster, tls, protocol));
    let towards = |refused: Box<Refused>| refused.towards(&cluster.name, Some(shown(&endpoint.address)));
    let stream = match &endpoint.address {
        Address::Tcp(address) => TcpStream::connect(*address, deadline).await,
        Address::Unix(path) => TcpStream::connect_unix(path, deadline).await,
    };
    let stream = stream.map_err(|failure| {
        let refused = Refused::new(Phase::Connect, Reason::from(&failure), failure.to_string());
        towards(refused.because_of(&endpoint.origin))
    })?;
    connection.core.counters().upstream_connects.add(1);
    let local = stream.local_address().to_string();
    let mut established =
        Established { key, endpoint: endpoint.clone(), local, tls: None, identity: None, roots_lost: 0 };
    let Some(tls) = &endpoint.tls else {
        return Ok((Io::plain(stream), established));
    };

    // Certificates may have rotated while the socket connected, and then the new ones count. Where a new configuration
    // no longer has this cluster, this exchange goes on as decided.
    let Originate { config, version, roots_lost } = originate(connection, cluster, tls, protocol)
        .or(decided)
        .ok_or_else(|| unable(connection, cluster, endpoint, tls))?;
    established.key.tls = version;
    established.roots_lost = roots_lost;
    let stream = Prefixed::new(stream, bytes::BytesMut::new());
    let (io, handshake) =
        sidering_tls::connect(stream, &config, established.key.server_name.as_deref(), deadline)
            .await
            .map_err(|failure| {
                let mut refused = Refused::handshake(&failure);
                refused.expected = expected_of(tls, established.key.server_name.as_deref());
                towards(refused.because_of(&tls.origin))
            })?;
    connection.core.counters().of(Direction::Outbound).handshake(handshake.resumed);
    established.identity = believe(connection, tls, &handshake).map_err(towards)?;
    established.tls = Some(handshake);
    Ok((Io::Tls(Box::new(io)), established))
}

/// Who was to answer: an ordinary TLS server by its host, where the rule has no names of its own.
fn expected_of(tls: &UpstreamTls, server_name: Option<&str>) -> Vec<Expected> {
    match (&tls.trust, server_name) {
        (Trust::Roots(_), Some(host)) if tls.sans.0.is_empty() => {
            vec![Expected { name: host.to_owned(), from: format!("server name, {}", tls.origin) }]
        }
        _ => expected(&tls.sans),
    }
}

/// Secure naming, once, on the very leaf that the backend verified. Ordinary TLS servers were matched by the
/// backend's own verifier already.
fn believe(connection: &Connection, tls: &UpstreamTls, handshake: &Handshake) -> Stage<Option<PeerIdentity>> {
    match tls.trust {
        Trust::Roots(_) | Trust::Unverified => return Ok(None),
        Trust::Mesh => {}
    }
    let live = connection.core.live();
    let leaf = handshake.peer_leaf.as_deref().unwrap_or_default();
    let identity = peer_identity(leaf, &live.snapshot.trust_domains).map_err(|error| {
        let leaf = sidering_identity::read_leaf(leaf).ok();
        Refused::naming(&error, leaf.as_ref(), &tls.sans).because_of(&tls.origin)
    })?;
    tls.sans
        .check(&identity.leaf)
        .map_err(|error| Refused::naming(&error, Some(&identity.leaf), &tls.sans).because_of(&tls.origin))?;
    Ok(Some(identity))
}

impl Established {
    /// The mesh peer behind it, for checking it again.
    pub(crate) fn mesh_peer(&self) -> Option<MeshPeer<'_>> {
        let (tls, identity) = self.tls.as_ref().zip(self.identity.as_ref())?;
        Some(MeshPeer { tls, identity, roots_lost: self.roots_lost })
    }

    pub(crate) fn security(&self) -> Security {
        if self.identity.is_some() { Security::MutualTls } else { Security::None }
    }

    /// How the upstream's name was checked, for the access log.
    pub(crate) fn naming(&self) -> &'static str {
        match (&self.endpoint.tls, &self.identity) {
            (Some(tls), Some(_)) if tls.sans.0.is_empty() => "trust-domain-only",
            (Some(_), Some(_)) => "secure-naming",
            (Some(_), None) => "host",
            (None, _) => "none",
        }
    }
}

/// An address as records and logs show it.
pub(crate) fn shown(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
    }
}
