//! Readiness from the ring: one POLL operation per direction, armed only when a call found nothing, and kept
//! armed across turns. Its future is boxed once per direction and used again for each wait.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;

use crate::core::Core;
use crate::runtime::{Direction, Pollable};

/// A socket whose readiness the ring tells.
pub(crate) struct Polled {
    shared: Rc<Shared>,
    reader: Option<Watch>,
    writer: Option<Watch>,
}

struct Shared {
    socket: Pollable,
    read: Cell<State>,
    write: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Try it.
    Ready,
    /// Tried, nothing there, and nobody has asked since.
    Idle,
    /// A POLL operation is in the ring.
    Armed,
}

/// Never ends: arms, waits, notes, and rests until it is polled again.
type Watch = Pin<Box<dyn Future<Output = ()>>>;

impl Polled {
    /// `ready` says which directions to try before waiting.
    pub(crate) fn new(fd: OwnedFd, ready: &[Direction]) -> io::Result<Self> {
        let state =
            |direction| Cell::new(if ready.contains(&direction) { State::Ready } else { State::Idle });
        let shared = Shared {
            socket: Pollable::adopt(fd)?,
            read: state(Direction::Read),
            write: state(Direction::Write),
        };
        Ok(Self { shared: Rc::new(shared), reader: None, writer: None })
    }

    pub(crate) fn poll_ready(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.state(direction).get() == State::Ready {
            return Poll::Ready(());
        }
        let watch = match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        };
        let watch = watch.get_or_insert_with(|| Box::pin(watch_forever(Rc::clone(&self.shared), direction)));
        let _never = watch.as_mut().poll(cx);
        if self.shared.state(direction).get() == State::Ready { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(crate) fn clear(&mut self, direction: Direction) {
        self.shared.state(direction).set(State::Idle);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.fd()
    }
}

impl Shared {
    fn state(&self, direction: Direction) -> &Cell<State> {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    fn is_armed(&self) -> bool {
        self.read.get() == State::Armed || self.write.get() == State::Armed
    }
}

async fn watch_forever(shared: Rc<Shared>, direction: Direction) {
    let state = shared.state(direction);
    loop {
        state.set(State::Armed);
        shared.socket.ready(direction).await;
        state.set(State::Ready);
        poll_fn(|_| if state.get() == State::Ready { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

impl Drop for Polled {
    /// An armed operation keeps the file open, and with it the connection: the peer would see its end only once a
    /// cancellation went round the ring. Shutting down first sends the FIN now, and completes the operations by
    /// itself, so that none is cancelled. A task awaits them and then lets the descriptor go: left to themselves
    /// they would do so from within the driver's loop over completions, which submits the close to the very ring
    /// that the loop holds.
    fn drop(&mut self) {
        let _ = SockRef::from(&self.shared.socket.fd()).shutdown(std::net::Shutdown::Both);
        if !self.shared.is_armed() {
            return;
        }
        let shared = Rc::clone(&self.shared);
        let mut watches = [self.reader.take(), self.writer.take()];
        Core::bury(async move {
            poll_fn(|cx| {
                for (watch, state) in watches.iter_mut().zip([&shared.read, &shared.write]) {
                    if let (Some(watch), State::Armed) = (watch, state.get()) {
                        let _never = watch.as_mut().poll(cx);
                    }
                }
                if shared.is_armed() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        });
    }
}
