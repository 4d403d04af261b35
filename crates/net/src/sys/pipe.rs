//! Pipes, and what moves through them without being copied.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::checked;
use super::socket::retry;

/// Both ends of a pipe; no call on them blocks.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    /// Of `size` bytes if the kernel grants them, else of what it gives.
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: the array has room for the two descriptors, which are owned by nobody else if the call succeeds.
        let pipe = unsafe {
            checked(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK))?;
            Self { reader: OwnedFd::from_raw_fd(ends[0]), writer: OwnedFd::from_raw_fd(ends[1]) }
        };
        // SAFETY: takes no pointers. Refused over /proc/sys/fs/pipe-user-pages-soft: a smaller pipe serves as well.
        unsafe { libc::fcntl(pipe.writer.as_raw_fd(), libc::F_SETPIPE_SZ, size as libc::c_int) };
        Ok(pipe)
    }

    /// From `socket` into the pipe.
    pub(crate) fn splice_from(&self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        splice(socket, self.writer.as_fd(), length)
    }

    /// Out of the pipe to `socket`. SIGPIPE, which no flag turns off here, Rust ignores.
    pub(crate) fn splice_to(&self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        splice(self.reader.as_fd(), socket, length)
    }
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    let none = std::ptr::null_mut();
    // SAFETY: without offsets splice takes no pointers.
    retry(|| match unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, length, flags) } {
        ..0 => Err(io::Error::last_os_error()),
        moved => Ok(moved.unsigned_abs()),
    })
}
