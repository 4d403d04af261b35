//! Time on a core: the clock, timers that move without work, and deadlines around futures.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The core's monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Fires once its instant has passed; the granularity is one millisecond.
pub struct Timer(());

impl Timer {
    /// A timer that fires at `at`.
    pub fn at(_at: Instant) -> Self {
        todo!()
    }
    /// Moves it, whether it fired or not. Later is a store; earlier re-arms.
    pub fn reset(&mut self, _at: Instant) {
        todo!()
    }
    /// Ready once the instant has passed.
    pub fn poll_fired(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        todo!()
    }
}

/// A limit on inactivity: `touch` is a store, the timer moves only when it fires.
pub struct Idle(());

impl Idle {
    /// Expires `limit` after the last touch; counts from now.
    pub fn new(_limit: Duration) -> Self {
        todo!()
    }
    /// Notes activity at `now`.
    pub fn touch(&mut self, _now: Instant) {
        todo!()
    }
    /// Ready once there was no activity for the limit.
    pub fn poll_expired(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        todo!()
    }
}

/// Done once `at` has passed.
pub async fn sleep_until(_at: Instant) {
    todo!()
}

/// A deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// Runs `f` until it is done or `at` has passed; it is polled first, so that a ready result always wins.
///
/// # Errors
/// [`Elapsed`] when the deadline came first; `f` is dropped.
pub async fn deadline<T>(_at: Instant, _f: impl Future<Output = T>) -> Result<T, Elapsed> {
    todo!()
}
