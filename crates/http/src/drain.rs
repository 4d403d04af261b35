//! The word to a connection that it shall end: after the exchange it is in, or at once while idle.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One per connection: `serve` has it, and a clone is with whoever keeps the register of connections.
#[derive(Clone, Default)]
pub struct Drain(Rc<State>);

#[derive(Default)]
struct State {
    started: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Drain {
    /// Not draining yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on responses say `Connection: close`, and the connection ends once it is idle.
    pub fn start(&self) {
        self.0.started.set(true);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Whether `start` was called.
    pub fn is_started(&self) -> bool {
        self.0.started.get()
    }

    /// Ready once `start` was called. One task waits.
    pub fn poll_started(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_started() {
            return Poll::Ready(());
        }
        let kept = self.0.waiting.take().filter(|waker| waker.will_wake(cx.waker()));
        self.0.waiting.set(Some(kept.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }
}
