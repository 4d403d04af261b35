//! The only place that knows monoio: a runtime per driver, tasks, the wheel of timers, and waiting until a
//! descriptor is ready. Everything else about sockets is ours, so that this file is what a replacement replaces.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use monoio::net::TcpStream;
use monoio::time::TimeDriver;
use monoio::{FusionRuntime, IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::sys::ring;
use crate::{Driver, Failure};

/// Which of a socket's two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

pub(crate) struct Runtime(FusionRuntime<TimeDriver<IoUringDriver>, TimeDriver<LegacyDriver>>);

impl Runtime {
    /// To be called on the thread that will run it: a ring with one issuer belongs to its thread.
    pub(crate) fn new(driver: Driver) -> Result<Self, Failure> {
        let made = match driver {
            Driver::IoUring => ring::first_setup(|ring| {
                let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(ring::ENTRIES);
                builder.uring_builder(ring).enable_timer().build()
            })
            .map(|(_, runtime)| runtime.into()),
            Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().map(Into::into),
        };
        made.map(Self).map_err(|error| Failure::DriverUnavailable { driver, why: error.to_string() })
    }

    pub(crate) fn block_on<T>(&mut self, f: impl Future<Output = T>) -> T {
        self.0.block_on(f)
    }
}

/// Starts a task. It can be awaited or forgotten, but not cancelled.
pub(crate) fn spawn(f: impl Future<Output = ()> + 'static) -> impl Future<Output = ()> {
    monoio::spawn(f)
}

/// An entry in the wheel of timers; one millisecond coarse, never early.
pub(crate) struct Sleep(Pin<Box<monoio::time::Sleep>>);

impl Sleep {
    pub(crate) fn until(at: Instant) -> Self {
        Self(Box::pin(monoio::time::sleep_until(at.into())))
    }

    pub(crate) fn reset(&mut self, at: Instant) {
        self.0.as_mut().reset(at.into());
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// A descriptor whose readiness the driver waits for. The driver closes it, after what is in flight for it.
pub(crate) struct Pollable(TcpStream);

impl Pollable {
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        // Only its readiness is ever asked for: it need not be a TCP socket.
        TcpStream::from_std(fd.into()).map(Self)
    }

    /// Waits until an epoll set that is drained after each return has something. It ends also when waiting fails:
    /// the set will say why.
    pub(crate) async fn has_events(&self, driver: Driver) {
        // On a ring this is one POLL operation. On epoll, asking the kernel once clears the runtime's own idea of
        // readiness, which we never clear by reading; waiting without asking again saves a call per turn.
        if driver == Driver::IoUring {
            let _ = self.0.readable(false).await;
            return;
        }
        let asked = std::future::poll_fn(|cx| Poll::Ready(pin!(self.0.readable(false)).poll(cx).is_ready()));
        if !asked.await {
            let _ = self.0.readable(true).await;
        }
    }
}
