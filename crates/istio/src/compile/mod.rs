//! From `Effective` to the Snapshot: listeners and chains, clusters, virtual hosts, rules.

use std::net::SocketAddr;
use std::path::Path;

use sidering_policy::Snapshot;

use crate::{Diagnostic, Effective};

/// The capture listeners of the bootstrap file. Without one, Sidecar resources bind their own listeners.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaptureListeners {
    /// `listeners.inbound`, such as 0.0.0.0:15006.
    pub inbound: Option<SocketAddr>,
    /// `listeners.outbound`, such as 0.0.0.0:15001.
    pub outbound: Option<SocketAddr>,
}

/// Makes the Snapshot. `files` reads what DestinationRules name (certificates, keys).
///
/// # Errors
/// Error-level diagnostics: a file that cannot be read, a listener that cannot be made.
pub fn compile(
    _effective: &Effective,
    _capture: &CaptureListeners,
    _files: &dyn Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Snapshot, Vec<Diagnostic>> {
    todo!()
}
