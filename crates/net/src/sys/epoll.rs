//! The epoll calls. What the events mean is `set.rs`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::checked;

/// How many events one call takes; more follow in the next.
const BATCH: usize = 256;

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; a non-negative result is a descriptor that nobody else owns.
        unsafe { Ok(Self(OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    /// A second descriptor of the same instance, for the driver to wait on.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, interest: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: `event` lives across the call; the kernel copies it.
        unsafe {
            checked(libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event))?;
        }
        Ok(())
    }

    pub(crate) fn delete(&self, fd: BorrowedFd<'_>) {
        // SAFETY: no event is read for a deletion. Fails only where the descriptor is not in the set.
        unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut());
        }
    }

    /// Takes what is ready now, without waiting, and hands out `(events, token)`.
    pub(crate) fn harvest(&self, mut note: impl FnMut(libc::c_int, u64)) {
        loop {
            let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; BATCH];
            let first = events.as_mut_ptr().cast();
            // SAFETY: the array has BATCH entries and lives across the call.
            let filled = unsafe { libc::epoll_wait(self.0.as_raw_fd(), first, BATCH as libc::c_int, 0) };
            // EINTR is the only error a valid set can give: nothing was taken, it stays readable.
            let filled = usize::try_from(filled).unwrap_or(0);
            for event in &events[..filled] {
                // SAFETY: the kernel has filled that many.
                let event = unsafe { event.assume_init() };
                note(event.events as libc::c_int, event.u64);
            }
            if filled < BATCH {
                return;
            }
        }
    }
}
