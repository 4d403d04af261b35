//! Bulk from socket to socket through a pipe, without a copy (`splice(2)`). For small pieces a copy costs less, so that a
//! direction splices only while its pieces are large.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::TcpStream;
use crate::sys::pipe::Pipe;

/// From how many bytes on a piece is large.
const LARGE: usize = 32 * 1024;

/// After so many large pieces in a row a direction splices; after as many small ones it copies again.
const STREAK: u8 = 4;

/// How much a pipe is asked to hold.
const PIPE_SIZE: usize = 256 * 1024;

/// Pipes of one thread: each may hold memory and takes two descriptors. Who gets none copies.
const PIPES: usize = 64;

/// What one direction knows and holds; between two turns a pipe only while there are bytes in it.
#[derive(Default)]
pub(crate) struct Splice {
    bulky: bool,
    /// Pieces in a row that speak for the other way.
    streak: u8,
    pipe: Option<Lent>,
}

impl Splice {
    /// `length` bytes came at once.
    pub(crate) fn note(&mut self, length: usize) {
        self.streak = if (length >= LARGE) == self.bulky { 0 } else { self.streak + 1 };
        if self.streak == STREAK {
            (self.bulky, self.streak) = (!self.bulky, 0);
        }
    }

    /// Moves what `source` has into a pipe, which must have been drained. With 0 it is to be read: splicing finds neither
    /// more nor the end at a byte of urgent data, and there may be no pipe.
    ///
    /// # Errors
    /// Those of `source`.
    pub(crate) fn fill(&mut self, source: &TcpStream, cx: &mut Context<'_>) -> io::Result<usize> {
        if !self.bulky || source.poll_readable(cx).is_pending() {
            return Ok(0);
        }
        let Some(mut pipe) = Lent::take() else { return Ok(0) };
        // An empty pipe has room: EAGAIN is the source's.
        match source.splice_into(&pipe.pipe, PIPE_SIZE) {
            Ok(0) => Ok(0),
            Ok(moved) => {
                pipe.held = moved;
                self.pipe = Some(pipe);
                self.note(moved);
                Ok(moved)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) => {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether bytes wait in a pipe.
    pub(crate) fn holds(&self) -> bool {
        self.pipe.is_some()
    }

    /// Moves some of what the pipe holds to `sink`.
    pub(crate) fn poll_drain(&mut self, sink: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(0)) };
        // There are bytes in it: EAGAIN is the sink's.
        let moved = ready!(sink.poll_splice_out(&pipe.pipe, pipe.held, cx))?;
        pipe.held -= moved;
        if pipe.held == 0 {
            self.pipe = None;
        }
        Poll::Ready(Ok(moved))
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { spare: Vec::new(), lent: 0 }) };
}

struct Pool {
    spare: Vec<Rc<Pipe>>,
    lent: usize,
}

/// A pipe of the thread's pool, which gets it back unless bytes are left in it.
struct Lent {
    pipe: Rc<Pipe>,
    held: usize,
}

impl Lent {
    fn take() -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            let pipe = match pool.spare.pop() {
                Some(pipe) => pipe,
                None if pool.lent < PIPES => Rc::new(Pipe::new(PIPE_SIZE).ok()?),
                None => return None,
            };
            pool.lent += 1;
            Some(Self { pipe, held: 0 })
        })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Fails only while the thread ends.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.lent -= 1;
            if self.held == 0 {
                pool.spare.push(Rc::clone(&self.pipe));
            }
        });
    }
}
