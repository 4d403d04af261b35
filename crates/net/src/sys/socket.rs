//! Calls on non-blocking stream sockets, into buffers that need not be initialised.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket};
use tokio::io::ReadBuf;

use super::checked;

/// Receives once; 0 is the end of the stream.
pub(crate) fn recv(fd: BorrowedFd<'_>, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    let socket = SockRef::from(&fd);
    // SAFETY: recv only writes initialised bytes into the part it is given.
    let received = retry(|| socket.recv(unsafe { buf.unfilled_mut() }))?;
    // SAFETY: the kernel has filled that many bytes.
    unsafe { buf.assume_init(received) };
    buf.advance(received);
    Ok(received)
}

/// As [`recv`], for a caller who keeps the descriptor elsewhere. It does not wait even where somebody with another
/// descriptor of the socket has made it blocking.
pub(crate) fn recv_open(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer lives across the call and has the length given.
    retry(|| match unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) } {
        ..0 => Err(io::Error::last_os_error()),
        received => Ok(received.unsigned_abs()),
    })
}

/// Sends once, without SIGPIPE.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let socket = SockRef::from(&fd);
    retry(|| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL))
}

/// Sends several pieces in one call, without SIGPIPE.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let socket = SockRef::from(&fd);
    retry(|| socket.send_vectored_with_flags(bytes, libc::MSG_NOSIGNAL))
}

/// Accepts once, non-blocking and close-on-exec; the address is unspecified for Unix sockets.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut fd = -1;
    // SAFETY: socket2 passes storage of its full size; the descriptor returned is owned by nobody else.
    let (socket, peer) = unsafe {
        SockAddr::try_init(|storage, length| {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            fd = retry(|| checked(libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags)))?;
            Ok(())
        })
        .map(|((), peer)| (OwnedFd::from_raw_fd(fd), peer))?
    };
    Ok((socket, peer.as_socket().unwrap_or(UNSPECIFIED)))
}

/// Ends a TCP connection with a reset at once, whenever its descriptor is closed: dissolving the association does so
/// (tcp(7), `AF_UNSPEC`). On other sockets it does nothing.
pub(crate) fn reset(fd: BorrowedFd<'_>) {
    // Both fail only on sockets that are no TCP connection any more.
    let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
    // SAFETY: all-zero is a valid sockaddr, of family AF_UNSPEC; it lives across the call.
    unsafe {
        let nowhere: libc::sockaddr = std::mem::zeroed();
        libc::connect(fd.as_raw_fd(), &nowhere, size_of::<libc::sockaddr>() as libc::socklen_t);
    }
}

/// Where netfilter found the connection heading before it redirected it.
pub(crate) fn original_destination(fd: BorrowedFd<'_>, v6: bool) -> io::Result<SocketAddr> {
    let socket = SockRef::from(&fd);
    let address = if v6 { socket.original_dst_v6()? } else { socket.original_dst_v4()? };
    address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// What `getsockname` and friends mean where there is no IP address.
pub(crate) const UNSPECIFIED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The local address; unspecified for Unix sockets.
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> SocketAddr {
    SockRef::from(&fd).local_addr().ok().and_then(|a| a.as_socket()).unwrap_or(UNSPECIFIED)
}

/// The error that the socket holds, such as why connecting failed; taking it clears it.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).take_error()?.map_or(Ok(()), Err)
}

/// A fresh non-blocking stream socket for `domain`.
pub(crate) fn stream_socket(domain: socket2::Domain) -> io::Result<Socket> {
    Socket::new(domain, socket2::Type::STREAM.nonblocking().cloexec(), None)
}

pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
