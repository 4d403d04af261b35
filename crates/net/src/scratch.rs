//! One 64 KiB buffer per thread, lent for the length of one poll, so that an idle connection owns none.

use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The size of a scratch buffer, in bytes: four TLS records.
pub const SCRATCH_SIZE: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The thread's scratch buffer, put back on drop. Nested takers get a fresh one: streams nest (TLS in TLS), and
/// a borrow held across an inner poll would panic. Never hold it across an await.
pub struct Scratch(Option<Box<[u8]>>);

impl Scratch {
    /// Takes the buffer; its contents are whatever the last user left.
    pub fn take() -> Self {
        Self(Some(SPARE.take().unwrap_or_else(|| vec![0; SCRATCH_SIZE].into())))
    }

    /// Reads once from `io` into the buffer and returns what came; empty is the end.
    ///
    /// # Errors
    /// Those of `io`.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&mut [u8]>> {
        let mut buf = ReadBuf::new(self);
        ready!(Pin::new(io).poll_read(cx, &mut buf))?;
        let filled = buf.filled().len();
        Poll::Ready(Ok(&mut self[..filled]))
    }
}

impl Deref for Scratch {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_deref().expect("the buffer is there until drop")
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().expect("the buffer is there until drop")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SPARE.set(self.0.take());
    }
}
