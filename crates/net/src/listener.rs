//! Where connections come from. Binding is done off the workers, so that a refused address refuses the whole
//! configuration before any core changes; a worker then adopts its socket.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket};

use crate::core::Core;
use crate::holders;
use crate::runtime::Direction;
use crate::set::Registered;
use crate::sys::socket;
use crate::{Failure, TcpStream, Timer, now};

/// Connections that the kernel queues before we accept; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long to wait for descriptors or memory before accepting is tried again.
const EXHAUSTED_RETRY: Duration = Duration::from_millis(50);

/// Connections accepted in a row before the rest of the core has its turn.
const BURST: u32 = 64;

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

/// Names a socket while it lives, and tells our own from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub(crate) u64);

/// A listening socket that no core owns yet.
#[derive(Debug)]
pub struct BoundListener {
    socket: Socket,
    address: ListenAddress,
    file: Option<Arc<SocketFile>>,
}

impl BoundListener {
    /// Binds and listens.
    ///
    /// # Errors
    /// [`Failure::AddressInUse`] if any other socket listens there, though our own workers share ports.
    pub fn bind(address: &ListenAddress) -> Result<Self, Failure> {
        match address {
            ListenAddress::Tcp(wanted) => {
                // Without SO_REUSEPORT, so that the kernel refuses a port on which anyone listens; with it a second
                // process of the same user would silently take a part of our connections.
                let socket = bind_tcp(*wanted, false).map_err(|error| bind_failure(error, address))?;
                // Now the other workers' sockets may join. The kernel looks at each socket as it is at that time.
                socket.set_reuse_port(true)?;
                Self::listen(socket, address)
            }
            ListenAddress::Unix(path) => Self::bind_unix(path, address),
        }
    }

    /// As `bind`, where sockets of `ours` that are soon to go may hold the TCP address or one that overlaps with it, as
    /// 0.0.0.0 and 127.0.0.1 do on one port. No other socket may.
    ///
    /// # Errors
    /// As for `bind`, and when the kernel does not tell who listens.
    pub fn bind_beside(address: &ListenAddress, ours: &HashSet<SocketId>) -> Result<Self, Failure> {
        let (wanted, in_use) = match (address, Self::bind(address)) {
            (ListenAddress::Tcp(wanted), Err(in_use @ Failure::AddressInUse { .. })) => (*wanted, in_use),
            (_, outcome) => return outcome,
        };
        let socket = bind_tcp(wanted, true).map_err(|error| bind_failure(error, address))?;
        let bound = Self::listen(socket, address)?;
        // The kernel has let us in beside whoever shares the port, be it not us. Asked only now, so that nobody comes
        // in between.
        let own = bound.id()?;
        let foreign = |holder: &SocketId| *holder != own && !ours.contains(holder);
        if holders::of(wanted)?.iter().any(foreign) { Err(in_use) } else { Ok(bound) }
    }

    fn bind_unix(path: &Path, address: &ListenAddress) -> Result<Self, Failure> {
        remove_dead_socket(path, address)?;
        let socket = socket::stream_socket(Domain::UNIX)?;
        socket.bind(&SockAddr::unix(path)?).map_err(|error| bind_failure(error, address))?;
        let file = SocketFile::new(path)?;
        Ok(Self { file: Some(Arc::new(file)), ..Self::listen(socket, address)? })
    }

    fn listen(socket: Socket, address: &ListenAddress) -> Result<Self, Failure> {
        socket.listen(BACKLOG).map_err(|error| bind_failure(error, address))?;
        let address = match (address, socket.local_addr()?.as_socket()) {
            (ListenAddress::Tcp(_), Some(bound)) => ListenAddress::Tcp(bound),
            _ => address.clone(),
        };
        Ok(Self { socket, address, file: None })
    }

    /// The next worker's socket for the same address: the kernel spreads TCP connections over those that share.
    ///
    /// # Errors
    /// As for `bind`, and when file descriptors run out.
    pub fn share(&self) -> Result<Self, Failure> {
        match &self.address {
            ListenAddress::Tcp(bound) => {
                let socket = bind_tcp(*bound, true).map_err(|error| bind_failure(error, &self.address))?;
                Self::listen(socket, &self.address)
            }
            ListenAddress::Unix(_) => {
                let socket = self.socket.try_clone()?;
                Ok(Self { socket, address: self.address.clone(), file: self.file.clone() })
            }
        }
    }

    /// Where it listens, with the port that the kernel chose.
    pub fn local_address(&self) -> ListenAddress {
        self.address.clone()
    }

    /// Its name: that of a Unix socket is shared by all workers.
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn id(&self) -> Result<SocketId, Failure> {
        let socket = File::from(self.as_fd().try_clone_to_owned()?);
        Ok(SocketId(socket.metadata()?.ino()))
    }
}

impl AsFd for BoundListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind_tcp(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = socket::stream_socket(Domain::for_address(address))?;
    // Connections of an earlier process in TIME_WAIT must not keep us from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_failure(error: io::Error, address: &ListenAddress) -> Failure {
    let address = address.clone();
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::AddressInUse { address },
        io::ErrorKind::AddrNotAvailable => Failure::AddressNotLocal { address },
        io::ErrorKind::PermissionDenied => Failure::PermissionDenied { address },
        _ => Failure::Os(error),
    }
}

/// A socket file outlives its process. One that nobody listens on is removed, anything else is left alone.
fn remove_dead_socket(path: &Path, address: &ListenAddress) -> Result<(), Failure> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(bind_failure(error, address)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Failure::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match socket::stream_socket(Domain::UNIX)?.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| bind_failure(error, address))
        }
        _ => Err(Failure::AddressInUse { address: address.clone() }),
    }
}

/// The file of a Unix socket, removed with the last listener on it unless another has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: Self::inode(path)? })
    }

    fn inode(path: &Path) -> io::Result<(u64, u64)> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A listening socket of this core.
pub struct TcpListener {
    socket: Registered,
    address: ListenAddress,
    /// Set while descriptors or memory are short. Kept here, so that a dropped `accept` does not forget it.
    retry: Option<Timer>,
    exhausted: u64,
    burst: u32,
    _file: Option<Arc<SocketFile>>,
}

impl TcpListener {
    /// Makes the socket this core's.
    ///
    /// # Errors
    /// When it cannot be registered.
    ///
    /// # Panics
    /// Outside a worker.
    pub fn adopt(bound: BoundListener) -> Result<Self, Failure> {
        let BoundListener { socket, address, file } = bound;
        let socket = Registered::new(socket.into(), &[])?;
        Ok(Self { socket, address, retry: None, exhausted: 0, burst: 0, _file: file })
    }

    /// The next connection. Can be dropped at any time without losing one.
    ///
    /// # Errors
    /// When the listener itself is broken; running out of descriptors is waited out and counted.
    pub async fn accept(&mut self) -> Result<(TcpStream, SocketAddr), Failure> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(TcpStream, SocketAddr), Failure>> {
        loop {
            if let Some(retry) = &mut self.retry {
                ready!(retry.poll_fired(cx));
                self.retry = None;
            }
            if self.burst == BURST {
                self.burst = 0;
                Core::current().later(cx.waker());
                return Poll::Pending;
            }
            ready!(self.socket.poll_ready(Direction::Read, cx));
            match self.accept_once() {
                Ok(accepted) => {
                    self.burst += 1;
                    return Poll::Ready(Ok(accepted));
                }
                Err(error) => match Hindrance::of(&error) {
                    Hindrance::Empty => {
                        self.burst = 0;
                        self.socket.clear(Direction::Read);
                    }
                    Hindrance::Gone => {}
                    // There is no event for "descriptors again": stay marked ready, and try after a while.
                    Hindrance::Exhausted => {
                        self.exhausted += 1;
                        self.retry = Some(Timer::at(now() + EXHAUSTED_RETRY));
                    }
                    Hindrance::Broken => return Poll::Ready(Err(error.into())),
                },
            }
        }
    }

    /// What the kernel has queued by now; at most a full queue, for more may keep coming.
    pub fn queued(&mut self) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
        let next = || {
            loop {
                match self.accept_once() {
                    Err(error) if matches!(Hindrance::of(&error), Hindrance::Gone) => {}
                    accepted => return accepted.ok(),
                }
            }
        };
        std::iter::from_fn(next).take(BACKLOG as usize)
    }

    fn accept_once(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, peer): (OwnedFd, SocketAddr) = socket::accept(self.socket.fd())?;
        Ok((TcpStream::accepted(fd, peer)?, peer))
    }

    /// How often accepting had to wait because descriptors or memory ran out.
    pub fn exhausted(&self) -> u64 {
        self.exhausted
    }

    /// Where it listens.
    pub fn local_address(&self) -> ListenAddress {
        self.address.clone()
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        // Workers share the socket of a Unix address: closing ours would leave it in our set.
        self.socket.forget();
    }
}

/// Why there was nothing to accept.
enum Hindrance {
    Empty,
    /// This one connection is gone; Linux passes its pending errors on through accept (accept(2)).
    Gone,
    Exhausted,
    Broken,
}

impl Hindrance {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::Empty,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => {
                Self::Exhausted
            }
            Some(
                libc::ECONNABORTED
                | libc::EPERM
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::EOPNOTSUPP,
            ) => Self::Gone,
            _ => Self::Broken,
        }
    }
}
