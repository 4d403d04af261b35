//! Bytes on their way out. Small pieces are gathered so that a head, its first data and the last chunk leave in one
//! system call; a large one is kept as it came, and the small ones lie before and behind it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// A piece up to this size is copied, to be gathered with its neighbours.
const SMALL: usize = 4 * 1024;
/// Above this no more may be queued.
const CAP: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Output {
    before: BytesMut,
    large: Bytes,
    behind: BytesMut,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.large.is_empty() && self.behind.is_empty()
    }

    /// Whether another piece of any size may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.before.len() < CAP
    }

    /// Where the next small piece goes.
    pub(super) fn end(&mut self) -> &mut BytesMut {
        if self.large.is_empty() { &mut self.before } else { &mut self.behind }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() > SMALL && self.large.is_empty() {
            self.large = data;
        } else {
            self.end().extend_from_slice(&data);
        }
    }

    /// Writes all of it; `sent` counts. Does not flush the stream.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        sent: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let taken = if self.large.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.before))?
            } else {
                let slices =
                    [IoSlice::new(&self.before), IoSlice::new(&self.large), IoSlice::new(&self.behind)];
                let skip = usize::from(self.before.is_empty());
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[skip..]))?
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *sent += taken as u64;
            self.advance(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, taken: usize) {
        let before = taken.min(self.before.len());
        let large = (taken - before).min(self.large.len());
        self.before.advance(before);
        self.large.advance(large);
        self.behind.advance(taken - before - large);
        if self.large.is_empty() {
            self.large = Bytes::new();
            if self.before.is_empty() {
                std::mem::swap(&mut self.before, &mut self.behind);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.before.capacity() + self.large.len() + self.behind.capacity()
    }

    /// Gives back the memory; to be called when nothing is queued.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
