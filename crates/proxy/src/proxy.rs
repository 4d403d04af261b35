//! The handle through which the control thread and tests drive the data path: publish, read, drain. Nothing here
//! runs on a worker; every method may block for as long as its own documentation says.

use std::sync::Arc;
use std::time::Duration;

use sidering_identity::Credentials;
use sidering_policy::{BindAddress, Origin, Snapshot, Version};

use crate::{Metrics, Options, Record, Status};

/// A running data path. Clones are handles to the same one.
#[derive(Clone)]
pub struct Proxy(Arc<()>);

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
        origin: Origin,
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

impl Proxy {
    /// Starts the workers. Nothing is bound before the first `publish`.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub fn start(options: Options) -> Result<Self, StartFailure> {
        let _ = options;
        todo!("start")
    }

    /// Puts a Snapshot in force on every core and returns its version, which is set here. Binds new listeners first;
    /// blocks until every core has switched, at most 5 s.
    ///
    /// # Errors
    /// [`PublishRefusal`].
    pub fn publish(&self, snapshot: Snapshot) -> Result<Version, PublishRefusal> {
        let _ = snapshot;
        todo!("publish")
    }

    /// Puts credentials in force for new handshakes on every core and returns their version. Blocks as `publish`.
    ///
    /// # Errors
    /// [`CredentialRefusal`].
    pub fn publish_credentials(&self, credentials: Credentials) -> Result<u64, CredentialRefusal> {
        let _ = credentials;
        todo!("publish credentials")
    }

    /// The kept records of all cores, oldest first.
    pub fn records(&self) -> Vec<Record> {
        todo!("records")
    }

    /// The state of the data path.
    pub fn status(&self) -> Status {
        todo!("status")
    }

    /// The counters of all cores, summed.
    pub fn metrics(&self) -> Metrics {
        todo!("metrics")
    }

    /// Stops accepting, lets current requests finish and closes idle connections; what is left after `limit` is
    /// aborted. Blocks until no connection is left. True if nothing had to be aborted.
    pub fn drain(&self, limit: Duration) -> bool {
        let _ = limit;
        todo!("drain")
    }

    /// Ends the workers and waits for them. Connections that are left are aborted: drain first.
    ///
    /// # Errors
    /// A worker that panicked.
    pub fn join(self) -> Result<(), sidering_net::Failure> {
        todo!("join")
    }
}

fn named(cores: &[usize]) -> String {
    let names: Vec<String> = cores.iter().map(|core| format!("core {core}")).collect();
    names.join(", ")
}

#[allow(dead_code)]
fn shown(address: &BindAddress) -> String {
    match address {
        BindAddress::Tcp(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
    }
}
