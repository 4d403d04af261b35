//! Which of the two drivers runs here, and why. Asked once at start, before any worker exists.

use std::str::FromStr;
use std::{fmt, io};

use crate::Failure;
use crate::sys::ring;

/// What a core's runtime waits in, for timers and for the epoll set of its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// An io_uring.
    IoUring,
    /// Another epoll set.
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
pub fn probe(choice: DriverChoice) -> Result<Probed, Failure> {
    if choice == DriverChoice::Epoll {
        return Ok(Probed { driver: Driver::Epoll, why: "epoll: chosen".to_owned() });
    }
    match (ring::try_ring(), choice) {
        (Ok(setup), _) => Ok(Probed { driver: Driver::IoUring, why: format!("io_uring: {setup}") }),
        (Err(error), DriverChoice::IoUring) => {
            Err(Failure::DriverUnavailable { driver: Driver::IoUring, why: refusal(&error) })
        }
        (Err(error), _) => Ok(Probed { driver: Driver::Epoll, why: format!("epoll: {}", refusal(&error)) }),
    }
}

/// Why the kernel gave no ring, as far as one can find out from here.
fn refusal(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM",
        Some(libc::ENOSYS) => "ENOSYS",
        Some(libc::EACCES) => "EACCES",
        Some(libc::ENOMEM) => {
            return format!("io_uring_setup refused (ENOMEM: the limit on locked memory, {error})");
        }
        _ => return format!("io_uring does not work ({error})"),
    };
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let cause = if matches!(sysctl.trim(), "1" | "2") {
        format!("sysctl kernel.io_uring_disabled={}", sysctl.trim())
    } else if status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])) {
        "seccomp".to_owned()
    } else if name == "ENOSYS" {
        "this kernel has none".to_owned()
    } else {
        "a security module".to_owned()
    };
    format!("io_uring_setup refused ({name}: {cause})")
}
