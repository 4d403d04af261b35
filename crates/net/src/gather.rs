//! Writes that leave together. Whoever is sent something wakes up, and on an idle core that costs the sender more than
//! the sending itself. So writes are held until every task that is ready has run, and leave one after the other: one
//! wake-up is followed by the rest of them before the peer has gone back to sleep. No task is run a second time for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::core::Core;

/// Somebody who holds a write.
pub trait Held {
    /// The round is over: now is the time to write.
    fn release(&self);
}

/// Has `held` release its write once every task that is ready now has run. False outside a worker, where nobody would.
pub fn hold(held: Rc<dyn Held>) -> bool {
    let Some(core) = Core::try_current().filter(|core| !core.has_ended()) else { return false };
    core.gathering.held.borrow_mut().push(held);
    if let Some(ender) = &*core.gathering.ender.borrow() {
        // It goes to the end of the runtime's queue, behind everybody who is ready now.
        ender.wake_by_ref();
    }
    true
}

/// What is held in a core.
#[derive(Default)]
pub(crate) struct Gathering {
    held: RefCell<Vec<Rc<dyn Held>>>,
    /// Of the task that ends rounds.
    ender: RefCell<Option<Waker>>,
}

impl Gathering {
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
        let mut held = gathering.held.replace(std::mem::take(&mut spare));
        // Without a borrow: who is dropped may hold something itself.
        held.drain(..).for_each(|held| held.release());
        spare = held;
        if core.has_ended() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{Driver, block_on, spawn_local, yield_now};

    struct Note(Rc<RefCell<String>>, &'static str);

    impl Held for Note {
        fn release(&self) {
            self.0.borrow_mut().push_str(self.1);
        }
    }

    #[test]
    fn nothing_leaves_before_all_who_are_ready_have_run() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let order = Rc::new(RefCell::new(String::new()));
            let told = order.clone();
            block_on(driver, async move {
                for _ in 0..2 {
                    for _ in 0..3 {
                        let order = order.clone();
                        spawn_local(async move {
                            order.borrow_mut().push('a');
                            assert!(hold(Rc::new(Note(order.clone(), "c"))));
                            order.borrow_mut().push('b');
                        });
                    }
                    yield_now().await;
                    yield_now().await;
                }
            })
            .unwrap();
            assert_eq!(*told.borrow(), "abababccc".repeat(2), "{driver}");
        }
    }

    #[test]
    fn outside_a_worker_nothing_is_held() {
        assert!(!hold(Rc::new(Note(Rc::default(), ""))));
    }
}
