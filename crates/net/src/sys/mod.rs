//! All kernel work of this crate that no dependency wraps: epoll, eventfd, ring probing, splicing, and
//! socket calls on uninitialised buffers. The only place with `unsafe`; every function here is safe to call.
#![allow(unsafe_code)] // raw system calls are what this module exists for

pub(crate) mod epoll;
pub(crate) mod pipe;
pub(crate) mod ring;
pub(crate) mod socket;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes a core run its reactor: any thread may ring. Never read, since each write is an edge of its own.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; a non-negative result is a descriptor that nobody else owns.
        unsafe {
            let fd = checked(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    pub(crate) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer lives across the call and has the length given. It cannot fail: the counter would
        // overflow after 2^64 rings.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
