//! Byte streams: the trait that everything above is generic over, and the socket at the bottom.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::Failure;

/// A two-way byte stream. `poll_flush` before sleeping: a layer may hold sealed bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The socket itself, if nothing above it holds or changes bytes.
    fn as_tcp(&self) -> Option<&TcpStream>;
}

impl Stream for DuplexStream {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl<S: Stream + ?Sized> Stream for &mut S {
    fn as_tcp(&self) -> Option<&TcpStream> {
        (**self).as_tcp()
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        (**self).as_tcp()
    }
}

/// A connected stream socket, TCP or Unix, that belongs to this core.
pub struct TcpStream(());

impl TcpStream {
    /// Connects without blocking the core.
    ///
    /// # Errors
    /// Refused, unreachable, or [`Failure::TimedOut`] at `deadline`.
    pub async fn connect(_address: SocketAddr, _deadline: Instant) -> Result<Self, Failure> {
        todo!()
    }
    /// Connects to a Unix socket; a full backlog is waited for until `deadline`.
    ///
    /// # Errors
    /// As `connect`.
    pub async fn connect_unix(_path: &Path, _deadline: Instant) -> Result<Self, Failure> {
        todo!()
    }
    /// The other end; unspecified for Unix sockets.
    pub fn peer_address(&self) -> SocketAddr {
        todo!()
    }
    /// This end; unspecified for Unix sockets.
    pub fn local_address(&self) -> SocketAddr {
        todo!()
    }
    /// Where the client wanted to go before netfilter redirected it (SO_ORIGINAL_DST).
    ///
    /// # Errors
    /// [`Failure::NotRedirected`] where netfilter knows nothing of this connection.
    pub fn original_destination(&self) -> Result<SocketAddr, Failure> {
        todo!()
    }
    /// Ends the connection so that the peer sees a reset, never a clean end.
    pub fn abort(self) {
        todo!()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        todo!()
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}

impl Stream for TcpStream {
    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
