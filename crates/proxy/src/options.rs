//! What the binary decides before the first worker runs. Everything else arrives with a Snapshot.

use std::path::PathBuf;

use sidering_http::Limits;
use sidering_net::{Driver, Pin};
use sidering_tls::Backend;

/// How the data path runs. Made once, by the binary or a test.
#[derive(Clone, Debug)]
pub struct Options {
    /// From `net::probe`.
    pub driver: Driver,
    /// One per core; at least 1.
    pub workers: usize,
    /// Which CPUs they may use.
    pub pin: Pin,
    /// The TLS library, of those compiled in.
    pub backend: Backend,
    /// What an HTTP connection may cost, on either side.
    pub limits: Limits,
    /// Absent: no access log.
    pub access_log: Option<AccessLog>,
}

/// Where requests and connections are logged. Written by a thread of its own; lines that it cannot keep up with are
/// dropped and counted.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Appended to; `/dev/stdout` writes to the process's standard output.
    pub path: PathBuf,
    /// Of each line.
    pub format: LogFormat,
}

/// Form of an access log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Istio's default text format.
    #[default]
    Istio,
    /// The same keys as JSON, and ours: reason, policy, identities, TLS parameters.
    Json,
}

impl Options {
    /// One worker, unpinned, with a sidecar's limits, without an access log.
    pub fn new(driver: Driver, backend: Backend) -> Self {
        Self { driver, workers: 1, pin: Pin::No, backend, limits: Limits::default(), access_log: None }
    }
}
