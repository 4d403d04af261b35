//! Level-triggered readiness.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData};

pub use rustix::event::epoll::EventFlags;

use crate::Result;

pub struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Epoll {
    pub fn new() -> Result<Self> {
        Ok(Self { set: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(1024) })
    }

    pub fn add(&self, fd: impl AsFd, tag: usize) -> Result<()> {
        Ok(epoll::add(&self.set, fd, EventData::new_u64(tag as u64), EventFlags::IN)?)
    }

    pub fn modify(&self, fd: impl AsFd, tag: usize, flags: EventFlags) -> Result<()> {
        Ok(epoll::modify(&self.set, fd, EventData::new_u64(tag as u64), flags)?)
    }

    /// Tags and flags of what is ready; nothing once `timeout` has passed.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<(usize, EventFlags)>> {
        let timeout = timeout.map(Timespec::try_from).transpose()?;
        self.events.clear();
        match epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| (event.data.u64() as usize, event.flags)).collect())
    }
}
