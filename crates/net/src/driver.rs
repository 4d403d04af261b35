//! Which of the two drivers runs here, and why. Asked once at start, before any worker exists.

use std::fmt;
use std::str::FromStr;

use crate::Failure;

/// How a core waits for its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// POLL operations kept armed on an io_uring.
    IoUring,
    /// An edge-triggered epoll set.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// What the operator asked for: `auto`, `io_uring` or `epoll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// io_uring where the kernel lets us, else epoll.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// A driver name that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown driver {0:?}: write auto, io_uring or epoll")]
pub struct UnknownDriver(pub String);

impl FromStr for DriverChoice {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, UnknownDriver> {
        match name {
            "auto" => Ok(Self::Auto),
            "io_uring" => Ok(Self::IoUring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(UnknownDriver(name.to_owned())),
        }
    }
}

/// The outcome of [`probe`].
#[derive(Debug, Clone)]
pub struct Probed {
    /// What to run on.
    pub driver: Driver,
    /// One line for the operator, such as `epoll: io_uring_setup refused (EPERM: seccomp)`.
    pub why: String,
}

/// Finds the driver to use, by really making a ring.
///
/// # Errors
/// [`Failure::DriverUnavailable`] if io_uring was asked for by name and the kernel refuses it.
pub fn probe(_choice: DriverChoice) -> Result<Probed, Failure> {
    todo!()
}
