//! A stream whose first bytes were read already, by sniffing. Peeking instead would spin on a partial hello.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Stream, TcpStream};

/// Reads `prefix` first, then `S`; writes go straight through.
#[derive(Debug)]
pub struct Prefixed<S> {
    io: S,
    prefix: BytesMut,
}

impl<S> Prefixed<S> {
    /// Puts `prefix` in front of what `io` will yield.
    pub fn new(io: S, prefix: BytesMut) -> Self {
        Self { io, prefix }
    }

    /// What of the prefix has not been read again yet.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The stream and what of the prefix has not been read again yet.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.prefix)
    }
}

impl<S: Stream> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let taken = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..taken]);
        self.prefix.advance(taken);
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Prefixed<S> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        if self.prefix.is_empty() { self.io.as_tcp() } else { None }
    }

    fn reset(&mut self) {
        self.io.reset();
    }
}
