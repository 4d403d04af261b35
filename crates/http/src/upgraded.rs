//! A connection that left HTTP by 101: bytes both ways, those read or queued beforehand first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sidering_net::{Stream, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::h1::Shared;

/// The tunnel. Flush it before sleeping: the 101 may still be queued.
pub struct Upgraded<S> {
    connection: Shared<S>,
}

impl<S> Upgraded<S> {
    pub(crate) fn new(connection: Shared<S>) -> Self {
        Self { connection }
    }
}

impl<S: Stream> AsyncRead for Upgraded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.borrow_mut().poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for Upgraded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.borrow_mut().poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.borrow_mut().poll_flush_tunnel(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.borrow_mut().poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Upgraded<S> {
    /// Never: bytes read or queued beforehand may lie between.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn reset(&mut self) {
        self.connection.borrow_mut().reset();
    }
}
