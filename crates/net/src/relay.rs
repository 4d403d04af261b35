//! The byte pump: everything from each of two streams to the other, until both have ended. Knows no protocol.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use crate::Stream;

/// Bytes moved so far; readable while the relay runs.
#[derive(Debug, Default)]
pub struct Counters {
    /// From `a` to `b`.
    pub forward: Cell<u64>,
    /// From `b` to `a`.
    pub backward: Cell<u64>,
}

/// Why a relay ended otherwise than by both ends closing.
#[derive(Debug, thiserror::Error)]
pub enum RelayFailure {
    /// `a`, the first stream, failed.
    #[error("downstream: {0}")]
    A(io::Error),
    /// `b`, the second stream, failed.
    #[error("upstream: {0}")]
    B(io::Error),
    /// Nothing moved for the idle limit.
    #[error("idle for too long")]
    Idle,
}

/// Copies both ways until both have ended; an end on one side is passed on as an end (half-close).
/// An error on either side ends both: see [`RelayFailure`]; the caller aborts what it owns.
///
/// # Errors
/// The first failure of either stream, or idleness.
pub async fn relay<A: Stream, B: Stream>(
    _a: &mut A,
    _b: &mut B,
    _idle: Option<Duration>,
    _counters: &Counters,
) -> Result<(), RelayFailure> {
    todo!()
}
