//! Which chain takes a connection. Asked when it arrives, and again on each publish.

use std::sync::Arc;

use crate::{Chain, Facts, Listener, Refusal, Snapshot};

/// What must be known of the first bytes before `accept` can answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Is it TLS, with which SNI and ALPN?
    pub tls: bool,
    /// Is it HTTP, if it is not TLS?
    pub http: bool,
}

/// What `listener` needs to see of a connection to `port`.
pub fn needs(_listener: &Listener, _port: u16) -> Needs {
    todo!("policy")
}

/// The chain that takes a connection.
///
/// # Errors
/// [`Refusal::NoListener`], [`Refusal::PlaintextToStrict`], [`Refusal::TlsNotAccepted`], [`Refusal::NoChain`].
pub fn accept<'a>(
    _snapshot: &'a Snapshot,
    _listener: &str,
    _facts: &Facts,
) -> Result<&'a Arc<Chain>, Refusal> {
    todo!("policy")
}
