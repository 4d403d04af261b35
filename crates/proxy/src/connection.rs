//! A downstream connection as the rest of the core sees it: what it is known by, what was decided for it, and how it
//! is told to end. It keeps the chain it was given, never a Snapshot.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use sidering_http::Drain;
use sidering_identity::{PeerIdentity, peer_identity};
use sidering_policy::{
    Chain, Destination, Direction, DownstreamTls, Facts, Filter, Listener, Peer, accept, authorize_tcp,
};
use sidering_tls::Handshake;

use crate::counters::Tally;
use crate::live::{Live, Protocol};
use crate::record::{Record, SniffedText};
use crate::refused::{Refused, Stage};
use crate::series::{Series, Traffic};
use crate::sniff::Sniffed;
use crate::stop::Stop;
use crate::upstream::Established;
use crate::worker::Core;
use crate::{Phase, Reason};

/// Registered with its core from before its first check until it is dropped.
pub(crate) struct Connection {
    pub(crate) core: Rc<Core>,
    pub(crate) direction: Direction,
    /// The listener's name: `accept` is asked again by it.
    pub(crate) listener: Arc<str>,
    /// Its destination is the client's, not our listener's address.
    pub(crate) captured: bool,
    pub(crate) peer: Peer,
    pub(crate) destination: Destination,
    /// HTTP: end after the current request.
    pub(crate) drain: Drain,
    /// End now, for this reason.
    abort: Stop<Box<Refused>>,
    decided: RefCell<Decided>,
    /// What its last request or its bytes were counted in: mostly the next is of the same kind.
    counted: RefCell<Option<Arc<Series>>>,
    number: u64,
}

/// What was decided so far; asked again on each publish.
#[derive(Default)]
struct Decided {
    facts: Option<Rc<Facts>>,
    chain: Option<Arc<Chain>>,
    client: Option<Rc<Client>>,
    /// Opaque bytes: who answered upstream.
    upstream: Option<Rc<Established>>,
    serving: Option<Protocol>,
    /// An HTTP connection that an exchange turned into a tunnel: it has no next request to end before.
    tunnel: bool,
    /// HTTP: why it may carry no further request.
    revoked: Option<Box<Refused>>,
}

/// A downstream peer that was authenticated.
pub(crate) struct Client {
    pub(crate) identity: PeerIdentity,
    pub(crate) tls: Handshake,
    /// [`Live::roots_lost`] when the handshake began.
    pub(crate) roots_lost: u64,
}

impl Connection {
    /// Makes the connection known to its core.
    pub(crate) fn register(
        core: &Rc<Core>,
        listener: &Listener,
        peer: Peer,
        destination: Destination,
    ) -> Rc<Self> {
        let connection = |number| Self {
            core: core.clone(),
            direction: listener.direction,
            listener: listener.name.clone(),
            captured: listener.captures,
            peer,
            destination,
            drain: Drain::new(),
            abort: Stop::default(),
            decided: RefCell::default(),
            counted: RefCell::default(),
            number,
        };
        let connection = core.registry.insert(connection);
        connection.tally().opened.add(1);
        connection
    }

    /// Chooses the chain, and keeps the facts so that it can be asked again.
    pub(crate) fn accept(&self, sniffed: &Sniffed) -> Stage<Arc<Chain>> {
        let facts = Rc::new(Facts {
            peer: self.peer,
            destination: self.destination,
            transport: sniffed.transport,
            server_name: sniffed.server_name.clone(),
            application_protocols: sniffed.application_protocols.clone(),
        });
        self.decided.borrow_mut().facts = Some(facts.clone());
        // Its request was on its way already: it is served, and the connection ends after it.
        self.abort.withdraw(|why| why.reason == Reason::Draining);
        let live = self.core.live();
        let chain =
            accept(&live.snapshot, &self.listener, &facts).map_err(|refusal| Refused::decided(&refusal))?;
        self.decided.borrow_mut().chain = Some(chain.clone());
        Ok(chain.clone())
    }

    /// What the chain was chosen by; there are some once the first bytes were sniffed.
    pub(crate) fn facts(&self) -> Option<Rc<Facts>> {
        self.decided.borrow().facts.clone()
    }

    /// The facts of a connection that is served.
    pub(crate) fn sniffed(&self) -> Rc<Facts> {
        self.facts().expect("the first bytes were sniffed before anything is served")
    }

    /// The chain as of the newest Snapshot.
    pub(crate) fn chain(&self) -> Arc<Chain> {
        self.decided.borrow().chain.clone().expect("a chain was accepted before anything is served")
    }

    /// The authenticated peer; `None` for plaintext.
    pub(crate) fn client(&self) -> Option<Rc<Client>> {
        self.decided.borrow().client.clone()
    }

    /// Keeps who was authenticated, unless what it was verified with is gone by now.
    pub(crate) fn authenticated(&self, client: Client) -> Stage<Rc<Client>> {
        let client = Rc::new(client);
        self.decided.borrow_mut().client = Some(client.clone());
        self.still_believed(&self.core.live())?;
        Ok(client)
    }

    /// From now on requests, or the bytes of one upstream, are served.
    pub(crate) fn serves(&self, protocol: Protocol) {
        self.decided.borrow_mut().serving = Some(protocol);
        if self.core.draining() {
            self.drain.start();
        }
    }

    /// From now on opaque bytes are exchanged with the upstream of the last request. Refused if a publish since that
    /// request forbids it: there is no next request at which it could end.
    pub(crate) fn tunnels(&self, upstream: &Rc<Established>) -> Stage<()> {
        self.still_good()?;
        self.decided.borrow_mut().tunnel = true;
        self.joined(upstream)
    }

    /// Whether another request may be decided.
    pub(crate) fn still_good(&self) -> Stage<()> {
        self.decided.borrow().revoked.clone().map_or(Ok(()), Err)
    }

    /// HTTP, request by request: it can end between two.
    fn serves_requests(&self) -> bool {
        let decided = self.decided.borrow();
        decided.serving == Some(Protocol::Http) && !decided.tunnel
    }

    /// To whom opaque bytes go, unless what it was verified with is gone by now.
    pub(crate) fn joined(&self, upstream: &Rc<Established>) -> Stage<()> {
        self.decided.borrow_mut().upstream = Some(upstream.clone());
        self.still_believed(&self.core.live())
    }

    /// Runs a stage until it is done or the connection must end.
    pub(crate) async fn unless_aborted<T>(&self, stage: impl Future<Output = T> + Unpin) -> Stage<T> {
        match self.abort.unless(stage).await {
            Some(output) => Ok(output),
            None => Err(self
                .abort
                .take_why()
                .unwrap_or_else(|| Refused::new(Phase::Relay, Reason::ConfigurationChanged, "told to end"))),
        }
    }

    /// A drain has begun: HTTP ends after the current request, one that has not said what it wants ends at once, and
    /// opaque bytes flow on until the drain's time is up.
    pub(crate) fn drain(&self) {
        self.drain.start();
        if self.decided.borrow().facts.is_none() {
            self.abort(Refused::new(Phase::Sniff, Reason::Draining, "nothing was sent before the drain"));
        }
    }

    /// Ends it now.
    pub(crate) fn abort(&self, why: Box<Refused>) {
        self.abort.give(why);
    }

    /// Asks every decision again with what is in force now.
    pub(crate) fn recheck(&self, live: &Live) {
        if self.still_good().is_err() {
            return;
        }
        let checked = self.still_accepted(live).and_then(|()| self.still_believed(live));
        let Err(refused) = checked else { return };
        if self.serves_requests() {
            // Reported now: it ends in its own time, after the current request.
            self.refuse(&refused);
            self.decided.borrow_mut().revoked = Some(refused);
            self.drain.start();
        } else {
            self.abort(refused);
        }
    }

    fn still_accepted(&self, live: &Live) -> Stage<()> {
        let mut decided = self.decided.borrow_mut();
        let (Some(facts), Some(before)) = (&decided.facts, &decided.chain) else { return Ok(()) };
        let chain =
            accept(&live.snapshot, &self.listener, facts).map_err(|refusal| Refused::decided(&refusal))?;
        if requirement(before) != requirement(chain) {
            let detail = format!("chain {} became {}", before.name, chain.name);
            return Err(
                Refused::new(Phase::Accept, Reason::ConfigurationChanged, detail).because_of(&chain.origin)
            );
        }
        if decided.serving == Some(Protocol::Tcp) {
            let identity = decided.client.as_deref().map(|client| &client.identity);
            authorize_tcp(&chain.authorization, facts, identity)
                .map_err(|refusal| Refused::decided(&refusal).presenting(identity.map(|peer| &peer.leaf)))?;
        }
        decided.chain = Some(chain.clone());
        Ok(())
    }

    fn still_believed(&self, live: &Live) -> Stage<()> {
        let decided = self.decided.borrow();
        let downstream = decided.client.as_deref().map(Client::mesh_peer);
        let upstream = decided.upstream.as_deref().and_then(Established::mesh_peer);
        downstream.into_iter().chain(upstream).try_for_each(|peer| peer.still_believed(live))
    }

    /// Writes the record of a refusal or failure of this connection.
    pub(crate) fn refuse(&self, refused: &Refused) {
        let presented = || self.client().map(|client| (&client.identity.leaf).into());
        let facts = self.facts();
        let sniffed = |facts: &Rc<Facts>| SniffedText {
            transport: facts.transport,
            protocols: facts.application_protocols.iter().map(ToString::to_string).collect(),
        };
        let record = Record {
            id: 0,
            time: 0,
            direction: self.direction,
            phase: refused.phase,
            reason: refused.reason,
            listener: self.listener.to_string(),
            sniffed: facts.as_ref().map(sniffed),
            peer: Some(self.peer.0),
            destination: Some(self.destination.0),
            upstream: refused.upstream.clone(),
            cluster: refused.cluster.clone(),
            expected: refused.expected.clone(),
            presented: refused.presented.clone().or_else(presented),
            origin: refused.origin.clone(),
            policies: refused.policies.clone(),
            request: refused.request.clone(),
            server_name: facts.and_then(|facts| facts.server_name.as_deref().map(str::to_owned)),
            snapshot: self.core.live().snapshot.version.0,
            detail: refused.detail.clone(),
        };
        self.core.record(record.bounded());
    }

    /// Where such traffic is counted.
    pub(crate) fn series(&self, traffic: &Traffic<'_>) -> RefMut<'_, Arc<Series>> {
        let of = || self.core.book.of(traffic, &self.core.counters().traffic);
        let mut counted = self.counted.borrow_mut();
        counted.take_if(|series| !traffic.is(&series.labels));
        RefMut::map(counted, |series| series.get_or_insert_with(of))
    }

    /// Where this direction is counted.
    pub(crate) fn tally(&self) -> &Tally {
        self.core.counters().of(self.direction)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Client {
    fn mesh_peer(&self) -> MeshPeer<'_> {
        MeshPeer { tls: &self.tls, identity: &self.identity, roots_lost: self.roots_lost }
    }
}

/// Somebody on the other side of mesh mTLS, in either direction.
pub(crate) struct MeshPeer<'a> {
    pub(crate) tls: &'a Handshake,
    pub(crate) identity: &'a PeerIdentity,
    pub(crate) roots_lost: u64,
}

impl MeshPeer<'_> {
    /// Whether it would still be verified and believed.
    pub(crate) fn still_believed(&self, live: &Live) -> Stage<()> {
        let refused = |why: String| {
            Refused::new(Phase::Naming, Reason::PeerNoLongerTrusted, why)
                .presenting(Some(&self.identity.leaf))
        };
        if self.roots_lost != live.roots_lost {
            return Err(refused("a trust anchor was removed".to_owned()));
        }
        let leaf = self.tls.peer_leaf.as_deref().unwrap_or_default();
        match peer_identity(leaf, &live.snapshot.trust_domains) {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// What a live connection has committed itself to: whether and how TLS is terminated, and which protocol is spoken.
fn requirement(chain: &Chain) -> (Option<&DownstreamTls>, Protocol) {
    let protocol = match chain.filter {
        Filter::Http(_) => Protocol::Http,
        Filter::Tcp(_) => Protocol::Tcp,
    };
    (chain.tls.as_deref(), protocol)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tally().closed.add(1);
        self.core.registry.remove(self.number);
    }
}
