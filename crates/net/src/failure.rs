//! What can go wrong at a socket, told apart as far as callers act on it. `proxy` turns each into a reason.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::listener::ListenAddress;

/// Everything that can fail in this crate outside of `AsyncRead` and `AsyncWrite`, which speak `io::Error`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The peer answered with RST, or nothing listens at the path.
    #[error("connection refused")]
    Refused,
    /// No route to the host or network, or an ICMP error said so.
    #[error("host unreachable")]
    Unreachable,
    /// The deadline passed before the operation was done.
    #[error("timed out")]
    TimedOut,
    /// The peer reset the connection.
    #[error("connection reset")]
    Reset,
    /// Another process, or another listener of this one, holds the address.
    #[error(
        "{address} is already in use by another listener; choose another port or path, or stop what holds it"
    )]
    AddressInUse {
        /// What was to be bound.
        address: ListenAddress,
    },
    /// The address does not belong to this machine.
    #[error("{address} is not an address of this machine")]
    AddressNotLocal {
        /// What was to be bound.
        address: ListenAddress,
    },
    /// Binding needs a right that the process has not, such as `CAP_NET_BIND_SERVICE` for ports under 1024.
    #[error("no permission to listen on {address}")]
    PermissionDenied {
        /// What was to be bound.
        address: ListenAddress,
    },
    /// Something other than a dead socket is in the place of a Unix socket.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path in question.
        path: PathBuf,
    },
    /// The process or the machine is out of file descriptors, ports or socket memory.
    #[error("out of file descriptors, ports or socket memory")]
    Exhausted,
    /// The connection was not redirected, so there is no original destination.
    #[error("connection from {peer} has no original destination")]
    NotRedirected {
        /// Who connected.
        peer: SocketAddr,
    },
    /// The chosen driver does not run here.
    #[error("driver {driver}: {why}")]
    DriverUnavailable {
        /// The driver that was asked for.
        driver: crate::Driver,
        /// What the kernel said.
        why: String,
    },
    /// The pinning asked for is not possible.
    #[error("cannot pin workers: {why}")]
    Pinning {
        /// Which CPU, and what stands in the way.
        why: String,
    },
    /// A worker thread panicked.
    #[error("worker {worker} panicked")]
    WorkerPanicked {
        /// Its number.
        worker: usize,
    },
    /// Any other system error.
    #[error(transparent)]
    Os(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) => {
                Self::Exhausted
            }
            Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN) => {
                Self::Unreachable
            }
            _ => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
                io::ErrorKind::TimedOut => Self::TimedOut,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
                _ => Self::Os(error),
            },
        }
    }
}
