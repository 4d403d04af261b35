//! Writes that leave together. Whoever is sent something wakes up, and on an idle core that costs the sender more than
//! the sending itself. So a task that has something to write lets every other task that is ready come to the same
//! point first: then one wake-up is followed by the rest of the writes before the peer has gone back to sleep.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::core::Core;

/// Every so many rounds sockets and timers have their turn, so that no writer can keep a core from them.
const ROUNDS: u64 = 16;

/// One writer's place in the gathering; empty between two writes.
#[derive(Debug, Default)]
pub struct Gather(Option<u64>);

impl Gather {
    /// Ready once every task that was ready when this was first asked has run; outside a worker, where there is no
    /// other, at once. Costs a system call seldom. Asked again after that it waits anew.
    pub fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(core) = Core::try_current() else { return Poll::Ready(()) };
        let round = core.gathering.round.get();
        match self.0 {
            None => {
                self.0 = Some(round);
                core.gathering.join(&core, cx.waker());
                Poll::Pending
            }
            Some(joined) if joined == round => Poll::Pending,
            Some(_) => {
                self.0 = None;
                Poll::Ready(())
            }
        }
    }
}

/// Who waits in a core for the end of the round.
#[derive(Default)]
pub(crate) struct Gathering {
    round: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    /// Of the task that ends rounds.
    ender: RefCell<Option<Waker>>,
}

impl Gathering {
    fn join(&self, core: &Core, waker: &Waker) {
        let first = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(waker.clone());
            waiting.len() == 1
        };
        let ender = self.ender.borrow();
        let (true, Some(ender)) = (first, &*ender) else { return };
        if self.round.get().is_multiple_of(ROUNDS) {
            core.later(ender);
        } else {
            // It goes to the end of the runtime's queue, behind everybody who is ready now.
            ender.wake_by_ref();
        }
    }

    /// The worker has ended: there is no further round.
    pub(crate) fn end(&self) {
        if let Some(ender) = self.ender.take() {
            ender.wake();
        }
    }
}

/// Ends a round each time that it is woken, until `core` ends.
pub(crate) async fn end_rounds(core: Rc<Core>) {
    let mut spare = Vec::new();
    poll_fn(|cx| {
        let gathering = &core.gathering;
        gathering.ender.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        gathering.round.set(gathering.round.get() + 1);
        let mut waiting = gathering.waiting.replace(std::mem::take(&mut spare));
        // Without a borrow: waking can drop a task.
        waiting.drain(..).for_each(Waker::wake);
        spare = waiting;
        if core.has_ended() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::{Driver, block_on, now, sleep_until, spawn_local, yield_now};

    #[test]
    fn nobody_goes_on_before_all_who_are_ready_have_come_so_far() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let order = Rc::new(RefCell::new(String::new()));
            let told = order.clone();
            block_on(driver, async move {
                for _ in 0..2 {
                    for _ in 0..3 {
                        let order = order.clone();
                        spawn_local(async move {
                            let mut gather = Gather::default();
                            for step in ["a", "b", "c"] {
                                order.borrow_mut().push_str(step);
                                poll_fn(|cx| match gather.poll_gathered(cx) {
                                    // A second look within the same round changes nothing.
                                    Poll::Pending => gather.poll_gathered(cx),
                                    ready => ready,
                                })
                                .await;
                            }
                        });
                    }
                    yield_now().await;
                    yield_now().await;
                }
            })
            .unwrap();
            assert_eq!(*told.borrow(), "aaabbbccc".repeat(2), "{driver}");
        }
    }

    #[test]
    fn a_writer_that_never_stops_leaves_sockets_and_timers_their_turn() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            block_on(driver, async {
                spawn_local(async {
                    let mut gather = Gather::default();
                    loop {
                        poll_fn(|cx| gather.poll_gathered(cx)).await;
                    }
                });
                sleep_until(now() + Duration::from_millis(20)).await;
            })
            .unwrap();
        }
    }

    #[test]
    fn outside_a_worker_nobody_is_waited_for() {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Gather::default().poll_gathered(&mut cx).is_ready());
    }
}
