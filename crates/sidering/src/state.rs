//! What the control thread knows beside the data path: written by the watches, read by the admin endpoints.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sidering_control::Reload;
use sidering_control::ResourceReport;
use sidering_control::identity::IdentityReport;
use sidering_identity::{Credentials, SpiffeId, read_leaf};
use sidering_istio::{Effective, Workload};
use sidering_policy::Version;
use sidering_proxy::Proxy;
use tokio::sync::Notify;

use crate::log::Logging;

/// Shared by the control thread's tasks.
pub(crate) struct State {
    /// What does not change.
    pub setup: Setup,
    /// Milliseconds since the epoch: tells one life of a sidecar from the next.
    pub started: u128,
    ready: AtomicBool,
    draining: AtomicBool,
    end: Notify,
    resources: Mutex<Resources>,
    identity: Mutex<Identity>,
}

/// What is decided before the sidecar is ready.
pub(crate) struct Setup {
    /// The data path.
    pub proxy: Proxy,
    /// Who we stand beside.
    pub workload: Workload,
    /// Who we are meant to be.
    pub id: SpiffeId,
    /// Which driver, and why.
    pub driver: String,
    /// How long a drain may take.
    pub drain_time: Duration,
    /// Each asks one source.
    pub reloads: Vec<Reload>,
    /// Warnings about the bootstrap file.
    pub warnings: Vec<String>,
    /// What is logged.
    pub logging: Logging,
}

/// The resource files as of the last look.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    /// In force.
    pub version: Version,
    /// When it came into force.
    pub since: SystemTime,
    /// What it was compiled from.
    pub effective: Arc<Effective>,
    /// About what is in force.
    pub warnings: Vec<String>,
    /// Why a newer set is not; empty when nothing is stale.
    pub problems: Vec<String>,
    /// Sets taken and refused since start.
    pub loads: Loads,
}

/// The identity source as of the last look.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// In use.
    pub credentials: Credentials,
    /// Why newer ones are not.
    pub problem: Option<String>,
    /// Taken and refused since start.
    pub loads: Loads,
}

/// How often files were looked at, by outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loads {
    /// The first one included.
    pub accepted: u64,
    pub rejected: u64,
}

const FIRST: Loads = Loads { accepted: 1, rejected: 0 };

impl Resources {
    /// The first set, published.
    pub(crate) fn first(version: Version, effective: Arc<Effective>, warnings: Vec<String>) -> Self {
        Self { version, since: SystemTime::now(), effective, warnings, problems: Vec::new(), loads: FIRST }
    }
}

impl Identity {
    /// The first credentials, published.
    pub(crate) fn first(credentials: Credentials) -> Self {
        Self { credentials, problem: None, loads: FIRST }
    }
}

impl State {
    /// As of the first publish.
    pub(crate) fn new(setup: Setup, resources: Resources, identity: Identity) -> Arc<Self> {
        Arc::new(Self {
            setup,
            started: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            end: Notify::new(),
            resources: Mutex::new(resources),
            identity: Mutex::new(identity),
        })
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Relaxed);
    }

    /// What keeps it from serving traffic; `None` when it is ready.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.is_draining() {
            return Some("draining".to_owned());
        }
        if !self.ready.load(Relaxed) {
            return Some("starting".to_owned());
        }
        if let Some(deaf) = self.setup.proxy.status().deaf.first() {
            return Some(format!("not listening: {deaf}"));
        }
        let credentials = self.identity().credentials;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs().cast_signed();
        let expired = |der: &[u8]| read_leaf(der).is_ok_and(|read| read.not_after < now);
        if credentials.chain.certificates.first().is_some_and(|leaf| expired(leaf)) {
            return Some(format!("the certificate from {} has expired", credentials.source));
        }
        if credentials.bundle.roots.iter().all(|root| expired(root)) {
            return Some(format!("every trust anchor from {} has expired", credentials.source));
        }
        None
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Drains the data path and returns when it has, true if nothing was aborted. Blocks.
    pub(crate) fn drain(&self) -> bool {
        self.draining.store(true, Relaxed);
        self.setup.proxy.drain(self.setup.drain_time)
    }

    /// Has the sidecar drain and end, as SIGTERM does.
    pub(crate) fn end(&self) {
        self.end.notify_one();
    }

    /// Returns once somebody has called [`State::end`].
    pub(crate) async fn asked_to_end(&self) {
        self.end.notified().await;
    }

    /// Has every source look at its files now, and returns when they have.
    pub(crate) async fn reload(&self) {
        for source in &self.setup.reloads {
            source.now().await;
        }
    }

    pub(crate) fn resources(&self) -> Resources {
        locked(&self.resources).clone()
    }

    pub(crate) fn identity(&self) -> Identity {
        locked(&self.identity).clone()
    }

    /// Keeps and says what the resource watch found.
    pub(crate) fn resources_reported(&self, report: ResourceReport) {
        match report {
            ResourceReport::Published { version, effective, warnings } => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                let mut resources = locked(&self.resources);
                (resources.version, resources.effective, resources.warnings) = (version, effective, warnings);
                resources.loads.accepted += 1;
                resources.since = SystemTime::now();
                resources.problems.clear();
                drop(resources);
                tracing::info!("resources reloaded: snapshot {} is in force", version.0);
            }
            ResourceReport::Stale(problems) => {
                let mut resources = locked(&self.resources);
                resources.loads.rejected += 1;
                resources.problems = problems.clone();
                let version = resources.version.0;
                drop(resources);
                for problem in problems {
                    tracing::warn!("resources refused, snapshot {version} stays: {problem}");
                }
            }
        }
    }

    /// Keeps and says what the identity source found.
    pub(crate) fn identity_reported(&self, report: IdentityReport) {
        match report {
            IdentityReport::Rotated(credentials) => {
                let (version, source) = (credentials.version, Arc::clone(&credentials.source));
                let mut identity = locked(&self.identity);
                (identity.credentials, identity.problem) = (credentials, None);
                identity.loads.accepted += 1;
                drop(identity);
                tracing::info!("credentials {version} from {source} are in use");
            }
            IdentityReport::Stale(problem) => {
                let mut identity = locked(&self.identity);
                identity.loads.rejected += 1;
                identity.problem = Some(problem.clone());
                let version = identity.credentials.version;
                drop(identity);
                tracing::warn!("credentials refused, {version} stay in use: {problem}");
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
