//! Time on a core: the clock, timers that move without work, and deadlines around futures.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::runtime::Sleep;

/// The core's monotonic clock. Costs about as much as a comparison of two strings (no system call): take it once
/// per wake-up rather than per packet.
pub fn now() -> Instant {
    Instant::now()
}

/// Fires once its instant has passed; up to one millisecond late, never early. Costs nothing until it is polled.
pub struct Timer {
    at: Instant,
    /// In the wheel since the first poll, perhaps for an earlier instant than `at`.
    armed: Option<(Sleep, Instant)>,
}

impl Timer {
    /// A timer that fires at `at`.
    pub fn at(at: Instant) -> Self {
        Self { at, armed: None }
    }

    /// Moves it, whether it fired or not. Later is a store: the wheel is touched only when the old instant comes.
    pub fn reset(&mut self, at: Instant) {
        self.at = at;
        if let Some((sleep, armed)) = &mut self.armed
            && at < *armed
        {
            *armed = at;
            sleep.reset(at);
        }
    }

    /// As [`deadline`], for one that is needed again and again: that it is met costs next to nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn deadline<T>(&mut self, at: Instant, f: impl Future<Output = T>) -> Result<T, Elapsed> {
        self.reset(at);
        let mut f = pin!(f);
        poll_fn(|cx| self.poll_limited(f.as_mut(), cx)).await
    }

    fn poll_limited<F: Future>(
        &mut self,
        f: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Elapsed>> {
        match f.poll(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => self.poll_fired(cx).map(|()| Err(Elapsed)),
        }
    }

    /// Ready once the instant has passed, and ever after until it is moved.
    ///
    /// # Panics
    /// Outside a worker.
    pub fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (sleep, armed) = match &mut self.armed {
            Some(armed) => armed,
            None if self.at <= now() => return Poll::Ready(()),
            None => self.armed.insert((Sleep::until(self.at), self.at)),
        };
        loop {
            ready!(sleep.poll(cx));
            if self.at <= now() {
                return Poll::Ready(());
            }
            *armed = self.at;
            sleep.reset(self.at);
        }
    }
}

/// A limit on inactivity: noting activity is a store, the timer moves only when it fires.
pub struct Idle {
    limit: Duration,
    last: Instant,
    timer: Timer,
}

impl Idle {
    /// Expires `limit` after the last touch; counts from now.
    pub fn new(limit: Duration) -> Self {
        let last = now();
        Self { limit, last, timer: Timer::at(last + limit) }
    }

    /// Notes activity at `now`.
    pub fn touch(&mut self, now: Instant) {
        self.last = now;
    }

    /// Ready once there was no activity for the limit.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.poll_fired(cx));
            let due = self.last + self.limit;
            if due <= now() {
                return Poll::Ready(());
            }
            self.timer.reset(due);
        }
    }
}

/// Done once `at` has passed.
pub async fn sleep_until(at: Instant) {
    let mut timer = Timer::at(at);
    poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// A deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// Runs `f` until it is done or `at` has passed; it is polled first, so that a ready result always wins.
///
/// # Errors
/// [`Elapsed`] when the deadline came first; `f` is dropped.
pub async fn deadline<T>(at: Instant, f: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut f = pin!(f);
    let mut timer = Timer::at(at);
    poll_fn(|cx| timer.poll_limited(f.as_mut(), cx)).await
}
