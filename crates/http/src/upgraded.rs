//! A connection that left HTTP by 101: bytes both ways, those read or queued beforehand first.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use sidering_net::{Stream, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The tunnel. Flush it before sleeping: the 101 may still be queued.
pub struct Upgraded<S> {
    _todo: PhantomData<S>,
}

impl<S: Stream> AsyncRead for Upgraded<S> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}

impl<S: Stream> AsyncWrite for Upgraded<S> {
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

impl<S: Stream> Stream for Upgraded<S> {
    /// Never: bytes read or queued beforehand may lie between.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}
