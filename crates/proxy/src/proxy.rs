//! The handle through which the control thread and tests drive the data path: publish, read, drain. Nothing here
//! runs on a worker; every method may block for as long as its own documentation says.

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sidering_identity::Credentials;
use sidering_net::{BoundListener, ListenAddress, Sender, Workers, mailbox, run_workers};
use sidering_policy::{BindAddress, Listener, Origin, Snapshot, Version};

use crate::access_log::{self, Writer};
use crate::counters::{self, Counters};
use crate::live::{self, Live, SocketKey, Unusable};
use crate::record::Ring;
use crate::worker::{self, Command, Shared};
use crate::{CoreStatus, ListenerStatus, Metrics, Options, Record, Status};

/// A running data path. Clones are handles to the same one.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    options: Options,
    commands: Vec<Sender<Command>>,
    cores: Vec<Arc<Shared>>,
    control: Mutex<Control>,
    running: Mutex<Option<(Workers, Option<Writer>)>>,
}

/// What the control side knows; one publish at a time.
struct Control {
    live: Arc<Live>,
    bound: HashMap<SocketKey, ListenAddress>,
    draining: bool,
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
    #[error("listener {listener} cannot be bound to {address}: {failure} ({origin})")]
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
        let shared = |core| Arc::new(Shared { ring: Ring::new(core), counters: Counters::new() });
        let cores: Vec<_> = (0..options.workers.max(1)).map(shared).collect();
        let (commands, receivers): (Vec<_>, Vec<_>) = cores.iter().map(|_| mailbox::<Command>()).unzip();
        let receivers: Vec<_> = receivers.into_iter().map(|receiver| Mutex::new(Some(receiver))).collect();
        let shares = cores.clone();
        let workers = run_workers(options.driver, cores.len(), &options.pin, move |id| {
            let receiver = receivers[id.0].lock().unwrap_or_else(PoisonError::into_inner).take();
            let (shared, sink) = (shares[id.0].clone(), sink.clone());
            async move {
                let receiver = receiver.expect("each worker is started once");
                worker::run(id.0, shared, sink, receiver).await;
            }
        })?;
        let control = Control { live: Arc::new(Live::empty()), bound: HashMap::new(), draining: false };
        Ok(Self(Arc::new(Inner {
            options,
            commands,
            cores,
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
        let mut control = self.control();
        snapshot.version = Version(control.live.snapshot.version.0 + 1);
        let credentials = control.live.credentials.clone();
        self.put_in_force(&mut control, Arc::new(snapshot), credentials)?;
        Ok(control.live.snapshot.version)
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
        let mut control = self.control();
        let snapshot = control.live.snapshot.clone();
        self.put_in_force(&mut control, snapshot, Some(credentials))?;
        Ok(version)
    }

    /// Both phases: everything that can fail first, then the switch.
    fn put_in_force(
        &self,
        control: &mut Control,
        snapshot: Arc<Snapshot>,
        credentials: Option<Credentials>,
    ) -> Result<(), PublishRefusal> {
        if control.draining {
            return Err(PublishRefusal::ShuttingDown);
        }
        let live = Live::build(&control.live, snapshot, credentials, self.0.options.backend)
            .map_err(|Unusable { of, failure }| PublishRefusal::Tls { of, failure })?;
        let live = Arc::new(live);
        let mut sockets: Vec<Vec<(SocketKey, BoundListener)>> =
            self.0.cores.iter().map(|_| Vec::new()).collect();
        let mut bound = HashMap::new();
        for (key, listener) in live.sockets() {
            let address = match control.bound.get(key) {
                Some(address) => address.clone(),
                None => bind(key, listener, &mut sockets)?,
            };
            bound.insert(key.clone(), address);
        }
        control.bound = bound;
        control.live = live.clone();
        self.switch(&live, sockets)
    }

    fn switch(
        &self,
        live: &Arc<Live>,
        sockets: Vec<Vec<(SocketKey, BoundListener)>>,
    ) -> Result<(), PublishRefusal> {
        let (switched, answers) = mpsc::channel();
        for (commands, bound) in self.0.commands.iter().zip(sockets) {
            let command = Command::Switch { live: live.clone(), bound, switched: switched.clone() };
            commands.send(command).map_err(|_| PublishRefusal::ShuttingDown)?;
        }
        drop(switched);
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

    /// The state of the data path.
    pub fn status(&self) -> Status {
        let control = self.control();
        let listener = |(key, listener): (&SocketKey, &Arc<Listener>)| ListenerStatus {
            name: listener.name.to_string(),
            address: control.bound.get(key).map(ToString::to_string).unwrap_or_default(),
        };
        let mut listeners: Vec<_> = control.live.sockets().map(listener).collect();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            driver: self.0.options.driver.to_string(),
            backend: self.0.options.backend.to_string(),
            snapshot: control.live.snapshot.version.0,
            warnings: control.live.snapshot.warnings.clone(),
            credentials: control.live.credentials.as_ref().map(|credentials| credentials.version),
            listeners,
            cores: self.0.cores.iter().map(|core| core_status(&core.counters)).collect(),
            draining: control.draining,
        }
    }

    /// The counters of all cores, summed.
    pub fn metrics(&self) -> Metrics {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = running.as_ref().and_then(|(_, writer)| writer.as_ref());
        let log_dropped = writer.map_or(0, Writer::dropped);
        Metrics { log_dropped, ..counters::sum(self.0.cores.iter().map(|core| &core.counters)) }
    }

    /// Stops accepting, lets current requests finish and closes idle connections; what is left after `limit` is
    /// aborted. Blocks until no connection is left. True if nothing had to be aborted.
    pub fn drain(&self, limit: Duration) -> bool {
        self.control().draining = true;
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
        self.control().draining = true;
        for commands in &self.0.commands {
            // Err: it has ended already.
            let _ = commands.send(Command::End);
        }
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((workers, writer)) = running else { return Ok(()) };
        let joined = workers.join();
        if let Some(writer) = writer {
            writer.join();
        }
        joined
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds a listener, with a socket for each core.
fn bind(
    key: &SocketKey,
    listener: &Listener,
    sockets: &mut [Vec<(SocketKey, BoundListener)>],
) -> Result<ListenAddress, PublishRefusal> {
    let address = match &listener.bind {
        BindAddress::Tcp(address) => ListenAddress::Tcp(*address),
        BindAddress::Unix(path) => ListenAddress::Unix(path.to_path_buf()),
    };
    let refused = |failure| PublishRefusal::Bind {
        listener: listener.name.clone(),
        address: address.to_string(),
        failure,
        origin: Box::new(listener.origin.clone()),
    };
    let first = BoundListener::bind(&address).map_err(refused)?;
    let local = first.local_address();
    let Some((first_core, other_cores)) = sockets.split_first_mut() else { return Ok(local) };
    for core in other_cores {
        core.push((key.clone(), first.share().map_err(refused)?));
    }
    first_core.push((key.clone(), first));
    Ok(local)
}

fn core_status(counters: &Counters) -> CoreStatus {
    let open = |tally: &counters::Tally| tally.opened.value().saturating_sub(tally.closed.value());
    let directions = [sidering_policy::Direction::Inbound, sidering_policy::Direction::Outbound];
    CoreStatus {
        connections: directions.into_iter().map(|direction| open(counters.of(direction))).sum(),
        snapshot: counters.snapshot.value(),
    }
}

fn named(cores: &[usize]) -> String {
    let names: Vec<String> = cores.iter().map(|core| format!("core {core}")).collect();
    names.join(", ")
}
