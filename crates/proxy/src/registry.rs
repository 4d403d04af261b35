//! The live downstream connections of a core: who is asked again on each publish, and told of a drain.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use crate::connection::Connection;

/// By number. Connections hold themselves; here they are only known.
#[derive(Default)]
pub(crate) struct Registry {
    connections: RefCell<HashMap<u64, Weak<Connection>>>,
    next: Cell<u64>,
    waiting: Cell<Option<Waker>>,
}

impl Registry {
    /// Makes a connection that is known under the number that `make` is given.
    pub(crate) fn insert(&self, make: impl FnOnce(u64) -> Connection) -> Rc<Connection> {
        let number = self.next.replace(self.next.get() + 1);
        let connection = Rc::new(make(number));
        self.connections.borrow_mut().insert(number, Rc::downgrade(&connection));
        connection
    }

    /// Called by a connection's destructor.
    pub(crate) fn remove(&self, number: u64) {
        let mut connections = self.connections.borrow_mut();
        connections.remove(&number);
        if connections.is_empty() {
            drop(connections);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Every live connection. A copy: what is done to them may drop some.
    pub(crate) fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Done once there is none.
    pub(crate) async fn empty(&self) {
        poll_fn(|cx| {
            if self.connections.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
