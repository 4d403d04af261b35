//! Byte streams: the trait that everything above is generic over, and the socket at the bottom.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::runtime::Direction;
use crate::set::Registered;
use crate::sys::pipe::Pipe;
use crate::sys::socket;
use crate::{Failure, now, sleep_until};

/// A two-way byte stream. Flush before sleeping: a layer may hold sealed bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The socket itself, if nothing above it holds or changes bytes.
    fn as_tcp(&self) -> Option<&TcpStream>;

    /// Lets the peer see a reset instead of an end, now: what it got so far may not be all. A layer passes this on.
    fn reset(&mut self) {
        if let Some(tcp) = self.as_tcp() {
            socket::reset(tcp.socket.fd());
        }
    }
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
    fn reset(&mut self) {
        (**self).reset();
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        (**self).as_tcp()
    }
    fn reset(&mut self) {
        (**self).reset();
    }
}

/// A connected stream socket, TCP (without Nagle's delay) or Unix, that belongs to this core.
pub struct TcpStream {
    socket: Registered,
    peer: SocketAddr,
}

/// How long to wait for a place in the full backlog of a Unix socket, of which no event tells.
const UNIX_BACKLOG_RETRY: Duration = Duration::from_millis(5);

impl TcpStream {
    /// Connects without blocking the core.
    ///
    /// # Errors
    /// Refused, unreachable, or [`Failure::TimedOut`] at `deadline`.
    pub async fn connect(address: SocketAddr, deadline: Instant) -> Result<Self, Failure> {
        let fresh = socket::stream_socket(Domain::for_address(address))?;
        fresh.set_tcp_nodelay(true)?;
        let connected = match fresh.connect(&address.into()) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
            Err(error) => return Err(error.into()),
        };
        // Most protocols let the client speak first: there is nothing to read yet.
        let ready: &[Direction] = if connected { &[Direction::Write] } else { &[] };
        let stream = Self { socket: Registered::new(fresh.into(), ready)?, peer: address };
        if !connected {
            let writable = poll_fn(|cx| stream.socket.poll_ready(Direction::Write, cx));
            crate::deadline(deadline, writable).await.map_err(|_| Failure::TimedOut)?;
            socket::take_error(stream.socket.fd())?;
        }
        // The port that the kernel chose for us may be the very one that nobody listens on: TCP then connects the
        // socket to itself (RFC 9293 section 3.5, simultaneous open), and who wants to listen there finds it in use.
        if stream.local_address() == address {
            stream.abort();
            return Err(Failure::Refused);
        }
        Ok(stream)
    }

    /// Connects to a Unix socket; a full backlog is waited for until `deadline`.
    ///
    /// # Errors
    /// As `connect`.
    pub async fn connect_unix(path: &Path, deadline: Instant) -> Result<Self, Failure> {
        let address = SockAddr::unix(path)?;
        loop {
            let fresh = socket::stream_socket(Domain::UNIX)?;
            match fresh.connect(&address) {
                Ok(()) => {
                    let socket = Registered::new(fresh.into(), &[Direction::Write])?;
                    return Ok(Self { socket, peer: socket::UNSPECIFIED });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now() < deadline => {
                    sleep_until(deadline.min(now() + UNIX_BACKLOG_RETRY)).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Failure::TimedOut),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A connection just accepted: its client may have sent something already.
    pub(crate) fn accepted(fd: OwnedFd, peer: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: Registered::new(fd, &[Direction::Read, Direction::Write])?, peer })
    }

    /// The other end; unspecified for Unix sockets.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// This end; unspecified for Unix sockets.
    pub fn local_address(&self) -> SocketAddr {
        socket::local_address(self.socket.fd())
    }

    /// Where the client wanted to go before netfilter redirected it (`SO_ORIGINAL_DST`). For a client that came
    /// straight to us this is the local address, where connections are tracked at all.
    ///
    /// # Errors
    /// [`Failure::NotRedirected`] where netfilter knows nothing of this connection.
    pub fn original_destination(&self) -> Result<SocketAddr, Failure> {
        socket::original_destination(self.socket.fd(), self.peer.is_ipv6())
            .map_err(|_| Failure::NotRedirected { peer: self.peer })
    }

    /// Whether reading may find something; else the reader is woken.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_ready(Direction::Read, cx)
    }

    /// Moves at most `length` bytes into `pipe`. What it does not find says nothing: see `Splice::fill`. What was
    /// received ahead comes first, and can only be read.
    pub(crate) fn splice_into(&self, pipe: &Pipe, length: usize) -> io::Result<usize> {
        if self.socket.ahead(|ahead| ahead.has_received()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.splice_from(self.socket.fd(), length)
    }

    /// Moves at most `length` bytes out of `pipe`, which holds as many.
    pub(crate) fn poll_splice_out(
        &self,
        pipe: &Pipe,
        length: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_call(Direction::Write, cx, |fd| pipe.splice_to(fd, length))
    }

    /// Ends the connection so that the peer sees a reset, never a clean end.
    pub fn abort(mut self) {
        self.reset();
    }
}

impl std::fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let socket = &mut self.get_mut().socket;
        if let Some(received) = socket.ahead(|ahead| ahead.take(buf)) {
            return Poll::Ready(received);
        }
        let room = buf.remaining();
        let received = ready!(socket.poll_call(Direction::Read, cx, |fd| socket::recv(fd, buf)))?;
        socket.received(received, room);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = &mut self.get_mut().socket;
        let sent = ready!(socket.poll_call(Direction::Write, cx, |fd| socket::send(fd, bytes)))?;
        if sent < bytes.len() {
            socket.clear(Direction::Write);
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &mut self.get_mut().socket;
        let sent = ready!(socket.poll_call(Direction::Write, cx, |fd| socket::send_vectored(fd, bytes)))?;
        if sent < bytes.iter().map(|piece| piece.len()).sum() {
            socket.clear(Direction::Write);
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = SockRef::from(&self.socket.fd()).shutdown(std::net::Shutdown::Write);
        Poll::Ready(match shut {
            // The peer's reset came first; whoever reads learns of it.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        })
    }
}

impl Stream for TcpStream {
    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
