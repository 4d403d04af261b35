//! How long one direction of a connection may wait for its peer. One timer, made when first needed and kept.

use std::task::{Context, Poll};
use std::time::Duration;

use sidering_net::{Timer, now};

/// Counts from the first `poll_over` after `rest`.
#[derive(Default)]
pub(crate) struct Patience {
    timer: Option<Timer>,
    waiting: Waiting,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Waiting {
    #[default]
    No,
    Limited,
    Forever,
}

impl Patience {
    /// To be asked just before returning Pending: ready once the wait took `limit`.
    pub(crate) fn poll_over(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting == Waiting::No {
            self.waiting = self.begin(limit);
        }
        match &mut self.timer {
            Some(timer) if self.waiting == Waiting::Limited => timer.poll_fired(cx),
            _ => Poll::Pending,
        }
    }

    /// What was waited for came.
    pub(crate) fn rest(&mut self) {
        self.waiting = Waiting::No;
    }

    fn begin(&mut self, limit: Duration) -> Waiting {
        if limit == Duration::MAX {
            return Waiting::Forever;
        }
        let Some(at) = now().checked_add(limit) else { return Waiting::Forever };
        match &mut self.timer {
            Some(timer) => timer.reset(at),
            none => *none = Some(Timer::at(at)),
        }
        Waiting::Limited
    }
}
