//! A signal within one core that something must end: given once, with why, and awaited by the one task it is for.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Not given until it is; then for ever.
pub(crate) struct Stop<T> {
    why: RefCell<Option<T>>,
    waiting: Cell<Option<Waker>>,
}

impl<T> Default for Stop<T> {
    fn default() -> Self {
        Self { why: RefCell::new(None), waiting: Cell::new(None) }
    }
}

impl<T> Stop<T> {
    /// Gives the signal. The first reason stays.
    pub(crate) fn give(&self, why: T) {
        self.why.borrow_mut().get_or_insert(why);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// Has it been given?
    pub(crate) fn given(&self) -> bool {
        self.why.borrow().is_some()
    }

    /// Why it was given; taken out, for whoever reports it.
    pub(crate) fn take_why(&self) -> Option<T> {
        self.why.borrow_mut().take()
    }

    /// Takes it back if it was given for a reason that `is` no more.
    pub(crate) fn withdraw(&self, is: impl FnOnce(&T) -> bool) {
        self.why.borrow_mut().take_if(|why| is(why));
    }

    /// Ready once it was given.
    pub(crate) fn poll_given(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given() {
            return Poll::Ready(());
        }
        let kept = self.waiting.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waiting.set(Some(kept.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }

    /// Done once it was given.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| self.poll_given(cx)).await;
    }

    /// Runs `f` unless the signal comes first; then `None`. Pinned by the caller: moving it in would double the size of
    /// every future around it.
    pub(crate) async fn unless<F: Future + Unpin>(&self, mut f: F) -> Option<F::Output> {
        poll_fn(|cx| match Pin::new(&mut f).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_given(cx).map(|()| None),
        })
        .await
    }
}
