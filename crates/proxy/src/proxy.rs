//! The handle through which the control thread and tests drive the data path: publish, read, drain. Nothing here
//! runs on a worker; every method may block for as long as its own documentation says.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sidering_identity::Credentials;
use sidering_net::{BoundListener, Failure, ListenAddress, Sender, SocketId, Workers, mailbox, run_workers};
use sidering_policy::{BindAddress, Listener, Origin, Snapshot, Version};

use crate::access_log::{self, Writer};
use crate::counters;
use crate::live::{self, Live, SocketKey, Unusable};
use crate::worker::{self, Command, Shared};
use crate::{CoreStatus, ListenerStatus, Metrics, Options, Record, Status};

/// A running data path. Clones are handles to the same one.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    options: Options,
    commands: Vec<Sender<Command>>,
    cores: Vec<Arc<Shared>>,
    /// Held for a whole publish: one at a time.
    publishing: Mutex<()>,
    /// Held for a look, also by whoever must not wait for a publish.
    control: Mutex<Control>,
    running: Mutex<Option<(Workers, Option<Writer>)>>,
}

/// What the control side has handed to the cores; what they have made of it, they tell. Only who publishes changes it.
#[derive(Clone)]
struct Control {
    live: Arc<Live>,
    bound: HashMap<SocketKey, Bound>,
    draining: bool,
}

/// A listener's sockets, one for each core.
#[derive(Clone)]
struct Bound {
    address: ListenAddress,
    sockets: Vec<SocketId>,
}

/// Why the data path did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// The driver or a thread could not be had.
    #[error("cannot start the workers: {0}")]
    Workers(#[from] sidering_net::Failure),
    /// The access log cannot be opened.
    #[error("cannot open the access log {path}: {error}")]
    AccessLog {
        /// As configured.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Why a Snapshot was not taken. The one before stays in force, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum PublishRefusal {
    /// A listener's address cannot be bound.
    #[error("{origin}: listener {listener} cannot be bound to {address}: {failure}")]
    Bind {
        /// Its name.
        listener: Arc<str>,
        /// Where to.
        address: String,
        /// Why not.
        failure: sidering_net::Failure,
        /// The resource that made it.
        origin: Box<Origin>,
    },
    /// The TLS library takes none of these parameters.
    #[error("TLS parameters of {of} are not usable: {failure}")]
    Tls {
        /// The chain or cluster, and its resource.
        of: String,
        /// Why.
        failure: sidering_tls::ConfigFailure,
    },
    /// Some cores did not answer in time. The others have switched.
    #[error("{} did not switch within {} s", named(.cores), SWITCH_TIME.as_secs())]
    Silent {
        /// Their numbers.
        cores: Vec<usize>,
    },
    /// Cores could not make a listener theirs. Everything else is in force; the next publish binds it anew.
    #[error("{} cannot be listened on; everything else is in force", .listeners.join(", "))]
    Deaf {
        /// Each with its core and why.
        listeners: Vec<String>,
    },
    /// The workers have ended, or a drain has begun.
    #[error("the data path is shutting down")]
    ShuttingDown,
}

/// Why credentials were not taken. The ones before stay in force.
#[derive(Debug, thiserror::Error)]
pub enum CredentialRefusal {
    /// The key does not fit the certificate, or one of them cannot be read.
    #[error("credentials from {from} are not usable: {failure}")]
    Unusable {
        /// `Credentials::source`.
        from: Arc<str>,
        /// Why.
        failure: sidering_tls::ConfigFailure,
    },
    /// There is no root to verify peers with.
    #[error("credentials from {from} hold no trust anchor")]
    NoTrustAnchor {
        /// `Credentials::source`.
        from: Arc<str>,
    },
    /// Putting them in force failed.
    #[error(transparent)]
    Publish(#[from] PublishRefusal),
}

/// How many records of each core somebody has seen; at first none.
#[derive(Clone, Debug, Default)]
pub struct Seen(Vec<u64>);

/// How long a core may take to switch.
const SWITCH_TIME: Duration = Duration::from_secs(5);

/// A drain's end may be late by this before it is reported as not clean.
const DRAIN_GRACE: Duration = Duration::from_secs(10);

impl Proxy {
    /// Starts the workers. Nothing is bound before the first `publish`.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub fn start(options: Options) -> Result<Self, StartFailure> {
        let (sink, writer) = match &options.access_log {
            None => (None, None),
            Some(log) => {
                let path = log.path.display().to_string();
                let opened =
                    access_log::open(log).map_err(|error| StartFailure::AccessLog { path, error })?;
                (Some(opened.0), Some(opened.1))
            }
        };
        let cores: Vec<_> = (0..options.workers.max(1)).map(|core| Arc::new(Shared::new(core))).collect();
        let (commands, receivers): (Vec<_>, Vec<_>) = cores.iter().map(|_| mailbox::<Command>()).unzip();
        let receivers: Vec<_> = receivers.into_iter().map(|receiver| Mutex::new(Some(receiver))).collect();
        let (shares, limits) = (cores.clone(), options.limits);
        let workers = run_workers(options.driver, cores.len(), &options.pin, move |id| {
            let receiver = receivers[id.0].lock().unwrap_or_else(PoisonError::into_inner).take();
            let (shared, sink) = (shares[id.0].clone(), sink.clone());
            async move {
                let receiver = receiver.expect("each worker is started once");
                worker::run(id.0, shared, sink, limits, receiver).await;
            }
        })?;
        let control = Control { live: Arc::new(Live::empty()), bound: HashMap::new(), draining: false };
        Ok(Self(Arc::new(Inner {
            options,
            commands,
            cores,
            publishing: Mutex::default(),
            control: Mutex::new(control),
            running: Mutex::new(Some((workers, writer))),
        })))
    }

    /// Puts a Snapshot in force on every core and returns its version, which is set here. Binds new listeners first;
    /// blocks until every core has switched, at most 5 s.
    ///
    /// # Errors
    /// [`PublishRefusal`].
    pub fn publish(&self, mut snapshot: Snapshot) -> Result<Version, PublishRefusal> {
        let _one_at_a_time = locked(&self.0.publishing);
        let before = self.control().clone();
        snapshot.version = Version(before.live.snapshot.version.0 + 1);
        let (version, credentials) = (snapshot.version, before.live.credentials.clone());
        self.put_in_force(before, Arc::new(snapshot), credentials)?;
        Ok(version)
    }

    /// Puts credentials in force for new handshakes on every core and returns their version. Blocks as `publish`.
    ///
    /// # Errors
    /// [`CredentialRefusal`].
    pub fn publish_credentials(&self, credentials: Credentials) -> Result<u64, CredentialRefusal> {
        let from = credentials.source.clone();
        if credentials.bundle.roots.is_empty() {
            return Err(CredentialRefusal::NoTrustAnchor { from });
        }
        live::check(self.0.options.backend, &credentials)
            .map_err(|failure| CredentialRefusal::Unusable { from, failure })?;
        let version = credentials.version;
        let _one_at_a_time = locked(&self.0.publishing);
        let before = self.control().clone();
        let snapshot = before.live.snapshot.clone();
        self.put_in_force(before, snapshot, Some(credentials))?;
        Ok(version)
    }

    /// Both phases: everything that can fail first, then the switch.
    fn put_in_force(
        &self,
        before: Control,
        snapshot: Arc<Snapshot>,
        credentials: Option<Credentials>,
    ) -> Result<(), PublishRefusal> {
        if before.draining {
            return Err(PublishRefusal::ShuttingDown);
        }
        let live = Live::build(&before.live, snapshot, credentials, self.0.options.backend)
            .map_err(|Unusable { of, failure }| PublishRefusal::Tls { of, failure })?;
        let live = Arc::new(live);
        let mut binding = Binding::new(self.0.cores.len(), &before);
        let mut bound = HashMap::new();
        for (key, listener) in live.sockets() {
            let kept = before.bound.get(key).filter(|_| self.is_heard(key)).cloned();
            let taken = kept.map_or_else(|| binding.bind(key, listener), Ok)?;
            bound.insert(key.clone(), taken);
        }
        *self.control() = Control { live: live.clone(), bound, ..before };
        self.switch(&live, binding.sockets)?;
        let deaf = self.deaf(&live);
        if deaf.is_empty() { Ok(()) } else { Err(PublishRefusal::Deaf { listeners: deaf }) }
    }

    /// Cores share a Unix socket, so that the others take what one does not; each has a TCP socket of its own.
    fn is_heard(&self, key: &SocketKey) -> bool {
        let mut cores = self.0.cores.iter();
        let hears = |core: &Arc<Shared>| !core.deaf().contains_key(key);
        match key.bind {
            BindAddress::Tcp(_) => cores.all(hears),
            BindAddress::Unix(_) => cores.any(hears),
        }
    }

    fn switch(
        &self,
        live: &Arc<Live>,
        sockets: Vec<Vec<(SocketKey, BoundListener)>>,
    ) -> Result<(), PublishRefusal> {
        let (switched, answers) = mpsc::channel();
        // Those that live get it all the same.
        let mut gone = false;
        for (commands, bound) in self.0.commands.iter().zip(sockets) {
            let command = Command::Switch { live: live.clone(), bound, switched: switched.clone() };
            gone |= commands.send(command).is_err();
        }
        drop(switched);
        if gone {
            return Err(PublishRefusal::ShuttingDown);
        }
        let until = Instant::now() + SWITCH_TIME;
        let mut silent: Vec<usize> = (0..self.0.cores.len()).collect();
        while let Ok(core) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            silent.retain(|&other| other != core);
        }
        if silent.is_empty() { Ok(()) } else { Err(PublishRefusal::Silent { cores: silent }) }
    }

    /// The kept records of all cores, oldest first.
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.0.cores.iter().flat_map(|core| core.ring.snapshot()).collect();
        records.sort_by_key(|record| (record.time, record.id));
        records
    }

    /// The records that were made since the last time, oldest first, and how many of those are not kept any more.
    pub fn records_since(&self, last: &mut Seen) -> (Vec<Record>, u64) {
        last.0.resize(self.0.cores.len(), 0);
        let (mut records, mut lost) = (Vec::new(), 0);
        for (core, seen) in self.0.cores.iter().zip(&mut last.0) {
            let (more, made) = core.ring.after(*seen);
            lost += (made - *seen).saturating_sub(more.len() as u64);
            *seen = made;
            records.extend(more);
        }
        records.sort_by_key(|record| (record.time, record.id));
        (records, lost)
    }

    /// What is in force: for asking again. Does not wait for a publish.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.control().live.snapshot.clone()
    }

    /// Where a core should listen and does not.
    fn deaf(&self, live: &Live) -> Vec<String> {
        let of_core = |(number, core): (usize, &Arc<Shared>)| {
            let deaf = core.deaf();
            let lines = deaf.iter().filter_map(|(key, why)| {
                let listener = live.listener(key)?;
                Some(format!("{} on core {number} ({why})", listener.name))
            });
            lines.collect::<Vec<_>>()
        };
        self.0.cores.iter().enumerate().flat_map(of_core).collect()
    }

    /// The state of the data path. Does not wait for a publish.
    pub fn status(&self) -> Status {
        let control = self.control().clone();
        let listener = |(key, listener): (&SocketKey, &Arc<Listener>)| ListenerStatus {
            name: listener.name.to_string(),
            address: control.bound.get(key).map(|bound| bound.address.to_string()).unwrap_or_default(),
        };
        let mut listeners: Vec<_> = control.live.sockets().map(listener).collect();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        let cores: Vec<_> = self.0.cores.iter().map(|core| core_status(core)).collect();
        Status {
            driver: self.0.options.driver.to_string(),
            backend: self.0.options.backend.to_string(),
            snapshot: cores.iter().map(|core| core.snapshot).min().unwrap_or(0),
            published: control.live.snapshot.version.0,
            warnings: control.live.snapshot.warnings.clone(),
            credentials: cores.iter().map(|core| core.credentials).min().flatten(),
            listeners,
            deaf: self.deaf(&control.live),
            cores,
            draining: control.draining,
        }
    }

    /// The counters of all cores, summed.
    pub fn metrics(&self) -> Metrics {
        let running = locked(&self.0.running);
        let writer = running.as_ref().and_then(|(_, writer)| writer.as_ref());
        let log_dropped = writer.map_or(0, Writer::dropped);
        Metrics { log_dropped, ..counters::sum(self.0.cores.iter().map(|core| &core.counters)) }
    }

    /// Stops accepting, lets current requests finish and closes idle connections; what is left after `limit` is
    /// aborted. Blocks until no connection is left. True if nothing had to be aborted.
    pub fn drain(&self, limit: Duration) -> bool {
        self.refuse_to_publish();
        let until = Instant::now() + limit;
        let (drained, answers) = mpsc::channel();
        for commands in &self.0.commands {
            // A worker that is gone has no connection left.
            let _ = commands.send(Command::Drain { until, drained: drained.clone() });
        }
        drop(drained);
        let mut clean = true;
        for _ in &self.0.cores {
            let patience = until.saturating_duration_since(Instant::now()) + DRAIN_GRACE;
            match answers.recv_timeout(patience) {
                Ok(core_was_clean) => clean &= core_was_clean,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        clean
    }

    /// Ends the workers and waits for them. Connections that are left are aborted: drain first.
    ///
    /// # Errors
    /// A worker that panicked.
    pub fn join(self) -> Result<(), sidering_net::Failure> {
        self.refuse_to_publish();
        for commands in &self.0.commands {
            // Err: it has ended already.
            let _ = commands.send(Command::End);
        }
        let running = locked(&self.0.running).take();
        let Some((workers, writer)) = running else { return Ok(()) };
        let joined = workers.join();
        if let Some(writer) = writer {
            writer.join();
        }
        joined
    }

    /// From now on. One that is under way is waited for: it would bring listeners after the drain.
    fn refuse_to_publish(&self) {
        let _none = locked(&self.0.publishing);
        self.control().draining = true;
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        locked(&self.0.control)
    }
}

/// The first phase of a publish.
struct Binding<'a> {
    before: &'a Control,
    /// Ours, which an address may overlap with that is about to replace theirs.
    ours: HashSet<SocketId>,
    /// Bound by now, by core.
    sockets: Vec<Vec<(SocketKey, BoundListener)>>,
}

impl<'a> Binding<'a> {
    fn new(cores: usize, before: &'a Control) -> Self {
        let ours = before.bound.values().flat_map(|bound| bound.sockets.iter().copied()).collect();
        Self { before, ours, sockets: std::iter::repeat_with(Vec::new).take(cores).collect() }
    }

    /// Binds a listener, with a socket for each core.
    fn bind(&mut self, key: &SocketKey, listener: &Listener) -> Result<Bound, PublishRefusal> {
        // A port that the kernel chose stays when the listener has to be bound anew.
        let known = self.before.bound.get(key).map(|bound| bound.address.clone());
        let address = known.unwrap_or_else(|| match &listener.bind {
            BindAddress::Tcp(address) => ListenAddress::Tcp(*address),
            BindAddress::Unix(path) => ListenAddress::Unix(path.to_path_buf()),
        });
        self.bind_to(key, &address).map_err(|failure| PublishRefusal::Bind {
            listener: listener.name.clone(),
            address: address.to_string(),
            failure,
            origin: Box::new(listener.origin.clone()),
        })
    }

    fn bind_to(&mut self, key: &SocketKey, address: &ListenAddress) -> Result<Bound, Failure> {
        let first = BoundListener::bind_beside(address, &self.ours)?;
        let address = first.local_address();
        let mut bound = vec![first];
        while bound.len() < self.sockets.len() {
            bound.push(bound[0].share()?);
        }
        let sockets = bound.iter().map(BoundListener::id).collect::<Result<_, _>>()?;
        for (core, bound) in self.sockets.iter_mut().zip(bound) {
            core.push((key.clone(), bound));
        }
        Ok(Bound { address, sockets })
    }
}

fn core_status(core: &Shared) -> CoreStatus {
    let counters = &core.counters;
    let open = |tally: &counters::Tally| tally.opened.value().saturating_sub(tally.closed.value());
    let directions = [sidering_policy::Direction::Inbound, sidering_policy::Direction::Outbound];
    CoreStatus {
        connections: directions.into_iter().map(|direction| open(counters.of(direction))).sum(),
        snapshot: counters.snapshot.value(),
        credentials: Some(counters.credentials.value()).filter(|&version| version > 0),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn named(cores: &[usize]) -> String {
    let names: Vec<String> = cores.iter().map(|core| format!("core {core}")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
