//! Where connections come from. Binding is done off the workers, so that a refused address refuses the whole
//! configuration before any core changes; a worker then adopts its socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::{Failure, TcpStream};

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A listening socket that no core owns yet.
#[derive(Debug)]
pub struct BoundListener(());

impl BoundListener {
    /// Binds and listens.
    ///
    /// # Errors
    /// [`Failure::AddressInUse`] if any other socket listens there, though our own workers share ports.
    pub fn bind(_address: &ListenAddress) -> Result<Self, Failure> {
        todo!()
    }
    /// The next worker's socket for the same address.
    ///
    /// # Errors
    /// As for `bind`, and when file descriptors run out.
    pub fn share(&self) -> Result<Self, Failure> {
        todo!()
    }
    /// Where it listens, with the port that the kernel chose.
    pub fn local_address(&self) -> ListenAddress {
        todo!()
    }
}

/// A listening socket of this core.
pub struct TcpListener(());

impl TcpListener {
    /// Makes the socket this core's.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub fn adopt(_bound: BoundListener) -> Result<Self, Failure> {
        todo!()
    }
    /// The next connection. Can be dropped at any time without losing one.
    ///
    /// # Errors
    /// When the listener itself is broken; running out of descriptors is waited out and counted.
    pub async fn accept(&mut self) -> Result<(TcpStream, SocketAddr), Failure> {
        todo!()
    }
    /// How often accepting had to wait because descriptors or memory ran out.
    pub fn exhausted(&self) -> u64 {
        todo!()
    }
    /// Where it listens.
    pub fn local_address(&self) -> ListenAddress {
        todo!()
    }
}
