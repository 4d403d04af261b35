//! One core: what it knows, how it takes a new configuration, its accept loops and its drain. Everything in here is
//! touched by this core alone, but for `Shared`, which others read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sidering_http::Limits;
use sidering_net::{BoundListener, Failure, Receiver, TcpListener, TcpStream, deadline, now, spawn_local};
use sidering_policy::{Cluster, Destination, Direction, Listener, Peer, Refusal};

use crate::access_log::Sink;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::live::{Live, SocketKey};
use crate::record::{Record, Ring};
use crate::refused::Refused;
use crate::registry::Registry;
use crate::report::Report;
use crate::series::Book;
use crate::stop::Stop;
use crate::upstream::{Loads, Pool, Upstream};
use crate::{Phase, Reason, Span, inbound, outbound};

/// What the control thread asks of a core.
pub(crate) enum Command {
    /// Put `live` in force, ask every connection again, adopt the sockets, then answer with the core's number.
    Switch { live: Arc<Live>, bound: Vec<(SocketKey, BoundListener)>, switched: mpsc::Sender<usize> },
    /// Answer once no connection is left: true if none had to be aborted.
    Drain { until: Instant, drained: mpsc::Sender<bool> },
    /// End. What is left is dropped.
    End,
}

/// What is in force, as one core holds it.
#[allow(
    clippy::redundant_allocation,
    reason = "cloned for every decision: cores must not share a reference count"
)]
pub(crate) type CoreLive = Rc<Arc<Live>>;

/// What the control thread reads of a core.
pub(crate) struct Shared {
    pub(crate) ring: Ring,
    pub(crate) counters: Counters,
    deaf: Mutex<Deaf>,
}

/// Where a core should listen and does not, and why.
pub(crate) type Deaf = HashMap<SocketKey, String>;

/// One core's world.
pub(crate) struct Core {
    number: usize,
    live: RefCell<CoreLive>,
    pub(crate) registry: Registry,
    pub(crate) pool: Pool,
    pub(crate) loads: Loads,
    pub(crate) book: Book,
    pub(crate) log: Option<Sink>,
    pub(crate) limits: Limits,
    shared: Arc<Shared>,
    accepting: RefCell<HashMap<SocketKey, Rc<Accepting>>>,
    /// Told to stop, and not awaited yet.
    stopping: RefCell<Vec<Rc<Accepting>>>,
    entropy: Cell<u64>,
    draining: Cell<bool>,
}

/// An accept loop.
#[derive(Default)]
struct Accepting {
    stop: Stop<()>,
    /// It has stopped, and has taken what was queued.
    stopped: Stop<()>,
}

/// Connections that had to be aborted get this long to go.
const ABORTED: Duration = Duration::from_secs(5);

/// The whole life of a worker.
pub(crate) async fn run(
    number: usize,
    shared: Arc<Shared>,
    log: Option<Sink>,
    limits: Limits,
    mut commands: Receiver<Command>,
) {
    let core = Core::new(number, shared, log, limits);
    let sweeper = core.clone();
    spawn_local(async move { sweeper.pool.sweep().await });
    while let Some(command) = commands.recv().await {
        match command {
            Command::Switch { live, bound, switched } => {
                core.switch(live);
                core.listen(bound);
                // The next publish may want the addresses that are free now.
                core.stopped().await;
                // The control thread may have given up waiting.
                let _ = switched.send(number);
            }
            Command::Drain { until, drained } => {
                let core = core.clone();
                spawn_local(async move {
                    let _ = drained.send(core.drain(until).await);
                });
            }
            Command::End => break,
        }
    }
}

impl Shared {
    pub(crate) fn new(core: usize) -> Self {
        Self { ring: Ring::new(core), counters: Counters::new(), deaf: Mutex::default() }
    }

    /// Held for a look; the core takes it when it is told of new listeners, or loses one.
    pub(crate) fn deaf(&self) -> MutexGuard<'_, Deaf> {
        self.deaf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    fn new(number: usize, shared: Arc<Shared>, log: Option<Sink>, limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            number,
            live: RefCell::new(Rc::new(Arc::new(Live::empty()))),
            registry: Registry::default(),
            pool: Pool::new(shared.clone()),
            loads: Loads::default(),
            book: Book::default(),
            log,
            limits,
            shared,
            accepting: RefCell::default(),
            stopping: RefCell::default(),
            entropy: Cell::new(RandomState::new().hash_one(number)),
            draining: Cell::new(false),
        })
    }

    /// What is in force. Held for a decision, never across one connection's or body's life.
    pub(crate) fn live(&self) -> CoreLive {
        self.live.borrow().clone()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// 64 bits for balancing and request ids, not for secrets (SplitMix64).
    pub(crate) fn entropy(&self) -> u64 {
        let state = self.entropy.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.entropy.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Keeps a record, counts it and hands out its id.
    pub(crate) fn record(&self, mut record: Record) {
        record.time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.counters().of(record.direction).refusal(record.reason);
        self.shared.ring.push(record);
    }

    /// Takes back a connection that may carry another exchange.
    pub(crate) fn check_in(&self, upstream: Upstream, cluster: &Cluster) {
        let worn = cluster.max_requests_per_connection.is_some_and(|most| upstream.carried >= most);
        let current = self.live().is_current(upstream.established.key.tls);
        if current && !worn && !self.draining() {
            self.pool.put(upstream, cluster.idle_timeout);
        }
    }

    /// Puts a configuration in force: from here on every decision reads it, and those that were made are made again.
    fn switch(&self, live: Arc<Live>) {
        self.live.replace(Rc::new(live.clone()));
        self.accepting.borrow_mut().retain(|socket, accepting| {
            let kept = live.listener(socket).is_some();
            if !kept {
                self.stop(accepting.clone());
            }
            kept
        });
        self.shared.deaf().retain(|socket, _| live.listener(socket).is_some());
        for connection in self.registry.all() {
            connection.recheck(&live);
        }
        self.pool.retain(|key| live.is_current(key.tls) && live.snapshot.cluster(&key.cluster).is_some());
        self.loads.retain(|cluster| live.snapshot.cluster(cluster).is_some());
        self.counters().credentials.set(live.credentials.as_ref().map_or(0, |it| it.version));
        self.counters().snapshot.set(live.snapshot.version.0);
    }

    fn listen(self: &Rc<Self>, bound: Vec<(SocketKey, BoundListener)>) {
        for (socket, bound) in bound {
            match TcpListener::adopt(bound) {
                Ok(listener) => self.listen_on(socket, listener),
                Err(failure) => self.is_deaf(socket, &failure),
            }
        }
    }

    fn listen_on(self: &Rc<Self>, socket: SocketKey, listener: TcpListener) {
        // Only ever handed over together with its listener.
        let Some(known) = self.live().listener(&socket).cloned() else { return };
        self.shared.deaf().remove(&socket);
        let accepting = Rc::<Accepting>::default();
        // One that broke on another core was bound anew for all.
        if let Some(before) = self.accepting.borrow_mut().insert(socket.clone(), accepting.clone()) {
            self.stop(before);
        }
        let core = self.clone();
        spawn_local(async move {
            let outcome = core.accept_from(listener, &socket, &known, &accepting.stop).await;
            if let Err(failure) = outcome
                && !accepting.stop.given()
            {
                core.is_deaf(socket, &failure);
            }
            accepting.stopped.give(());
        });
    }

    fn stop(&self, accepting: Rc<Accepting>) {
        accepting.stop.give(());
        self.stopping.borrow_mut().push(accepting);
    }

    /// Done once the accept loops that were told to stop have done so.
    async fn stopped(&self) {
        for accepting in self.stopping.take() {
            accepting.stopped.wait().await;
        }
    }

    /// The socket is gone: the next publish brings another.
    fn is_deaf(&self, socket: SocketKey, failure: &Failure) {
        tracing::error!(core = self.number, ?socket, %failure, "a listener is lost");
        self.shared.deaf().insert(socket, failure.to_string());
    }

    async fn accept_from(
        self: &Rc<Self>,
        mut listener: TcpListener,
        socket: &SocketKey,
        known: &Arc<Listener>,
        stop: &Stop<()>,
    ) -> Result<(), Failure> {
        while let Some(accepted) = stop.unless(pin!(listener.accept())).await {
            let (stream, peer) = accepted?;
            self.welcome(socket, known, stream, peer);
        }
        // Whoever is in the kernel's queue would be reset by closing it.
        for (stream, peer) in listener.queued() {
            self.welcome(socket, known, stream, peer);
        }
        Ok(())
    }

    /// Registers a connection and starts its story, or refuses it where the listener, once `known`, is gone.
    fn welcome(
        self: &Rc<Self>,
        socket: &SocketKey,
        known: &Arc<Listener>,
        stream: TcpStream,
        peer: SocketAddr,
    ) {
        let current = self.live().listener(socket).cloned();
        let gone = || Refused::decided(&Refusal::NoListener { listener: known.name.clone() });
        let gone = current.is_none().then(gone);
        let listener = current.unwrap_or_else(|| known.clone());
        let original =
            if listener.captures { stream.original_destination() } else { Ok(stream.local_address()) };
        let (destination, refused) = match original {
            Ok(destination) => (destination, self.aimed_at_us(&listener, destination)),
            Err(failure) => {
                let refused = Refused::new(Phase::Accept, Reason::from(&failure), failure.to_string());
                (stream.local_address(), Some(refused))
            }
        };
        let connection = Connection::register(self, &listener, Peer(peer), Destination(destination));
        if let Some(refused) = gone.or(refused) {
            return Report::refuse(&connection, &refused);
        }
        if self.draining() {
            connection.drain();
        }
        spawn_local(story(connection, listener, stream));
    }

    /// Captured traffic whose destination is a capture port would come back to us for ever.
    fn aimed_at_us(&self, listener: &Listener, destination: SocketAddr) -> Option<Box<Refused>> {
        let ours = listener.captures && self.live().is_capture_port(destination.port());
        ours.then(|| {
            Refused::new(
                Phase::Accept,
                Reason::OwnPort,
                format!("{destination} is a capture port of this sidecar"),
            )
            .because_of(&listener.origin)
        })
    }

    /// Stops accepting, tells every connection, and waits; aborts what is left at `until`.
    async fn drain(&self, until: Instant) -> bool {
        self.draining.set(true);
        for (_, accepting) in self.accepting.take() {
            self.stop(accepting);
        }
        for connection in self.registry.all() {
            connection.drain();
        }
        self.pool.retain(|_| false);
        // Until then there may be more connections.
        self.stopped().await;
        if deadline(until, self.registry.empty()).await.is_ok() {
            return true;
        }
        for connection in self.registry.all() {
            connection.abort(Refused::new(
                Phase::Relay,
                Reason::DrainTimeout,
                "still open at the end of the drain",
            ));
        }
        if deadline(now() + ABORTED, self.registry.empty()).await.is_err() {
            tracing::error!(
                core = self.number,
                connections = self.registry.len(),
                "connections outlived the drain"
            );
        }
        false
    }
}

/// Serves one connection, from its first byte to its last.
pub(crate) fn story(
    connection: Rc<Connection>,
    listener: Arc<Listener>,
    stream: TcpStream,
) -> impl Future<Output = ()> {
    // No `async fn`, which keeps its arguments twice; boxed, as it moves on at once and its place stays.
    let taken = Box::new((stream, now()));
    async move {
        let (stream, accepted) = *taken;
        connection.tally().took(Span::Accept, now() - accepted);
        let served = match connection.direction {
            Direction::Inbound => inbound::serve(&connection, &listener, stream).await,
            Direction::Outbound => outbound::serve(&connection, &listener, stream).await,
        };
        if let Err(refused) = served {
            Report::refuse(&connection, &refused);
        }
    }
}
