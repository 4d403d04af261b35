//! From any thread to one worker, woken through the worker's doorbell. Used for publishing and for control.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::core::Core;
use crate::sys::Doorbell;

/// An unbounded mailbox.
pub fn mailbox<T: Send>() -> (Sender<T>, Receiver<T>) {
    let inbox = Inbox { items: VecDeque::new(), senders: 1, receiver: true, asleep: None };
    let shared = Arc::new(Shared { inbox: Mutex::new(inbox), rung: Arc::default() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The sending side; any thread may hold it.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving side; made anywhere, used on one worker.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    inbox: Mutex<Inbox<T>>,
    /// Tells the receiver's core which of its mailboxes the doorbell was rung for.
    rung: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Inbox<T> {
    items: VecDeque<T>,
    senders: usize,
    receiver: bool,
    /// The doorbell to ring, once, while the receiver waits.
    asleep: Option<Arc<Doorbell>>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Inbox<T>> {
        // No code that could panic runs under the lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, asleep: Option<Arc<Doorbell>>) {
        if let Some(doorbell) = asleep {
            self.rung.store(true, Ordering::Release);
            doorbell.ring();
        }
    }
}

impl<T: Send> Sender<T> {
    /// Hands `item` over; never blocks for longer than the receiver takes to look.
    ///
    /// # Errors
    /// Gives the item back when the receiver is gone.
    pub fn send(&self, item: T) -> Result<(), T> {
        let mut inbox = self.0.lock();
        if !inbox.receiver {
            return Err(item);
        }
        inbox.items.push_back(item);
        let asleep = inbox.asleep.take();
        drop(inbox);
        self.0.wake(asleep);
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut inbox = self.0.lock();
        inbox.senders -= 1;
        let asleep = if inbox.senders == 0 { inbox.asleep.take() } else { None };
        drop(inbox);
        self.0.wake(asleep);
    }
}

impl<T: Send> Receiver<T> {
    /// The next item in order of sending; `None` once every sender is gone. Can be dropped at any time.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let core = Core::current();
        let mut inbox = self.0.lock();
        if let Some(item) = inbox.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if inbox.senders == 0 {
            return Poll::Ready(None);
        }
        // Under the lock: a sender either sees that we sleep, or has sent before we looked.
        inbox.asleep = Some(Arc::clone(core.doorbell()));
        drop(inbox);
        core.await_bell(&self.0.rung, cx.waker());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut inbox = self.0.lock();
        inbox.receiver = false;
        inbox.asleep = None;
        let unread = std::mem::take(&mut inbox.items);
        drop(inbox);
        // What nobody read is dropped outside the lock: it may hold a sender.
        drop(unread);
        if let Some(core) = Core::try_current() {
            core.forget_bell(&self.0.rung);
        }
    }
}
