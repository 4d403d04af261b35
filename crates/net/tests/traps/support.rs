//! One macro for two drivers, a process of its own for tests that count descriptors, and peers that are ordinary
//! blocking sockets.

use std::future::{Future, poll_fn};
use std::io::{Read, Seek};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sidering_net::{
    BoundListener, Driver, ListenAddress, Stream, TcpListener, TcpStream, deadline, now, yield_now,
};
use tokio::io::ReadBuf;

/// Makes of each function a test per driver.
macro_rules! on_both_drivers {
    ($($(#[$doc:meta])* fn $name:ident($driver:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)] // a body need not use what its file imports
            use super::*;
            fn body($driver: sidering_net::Driver) $body
            #[test]
            fn io_uring() { body(sidering_net::Driver::IoUring) }
            #[test]
            fn epoll() { body(sidering_net::Driver::Epoll) }
        }
    )*};
}

/// The same in a process of its own, with at most `$descriptors` open files.
macro_rules! on_both_drivers_alone {
    ($($(#[$doc:meta])* fn $name:ident($driver:ident, $descriptors:literal descriptors) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)] // a body need not use what its file imports
            use super::*;
            fn body($driver: sidering_net::Driver) $body
            #[test]
            fn io_uring() {
                crate::support::alone(concat!(module_path!(), "::io_uring"), $descriptors, || body(sidering_net::Driver::IoUring))
            }
            #[test]
            fn epoll() {
                crate::support::alone(concat!(module_path!(), "::epoll"), $descriptors, || body(sidering_net::Driver::Epoll))
            }
        }
    )*};
}

pub(crate) use {on_both_drivers, on_both_drivers_alone};

const ALONE: &str = "SIDERING_TEST_ALONE";

/// Runs `body`, the test called `path`, in a process of its own.
pub(crate) fn alone(path: &str, descriptors: usize, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let name = path.split_once("::").expect("a module path starts with the crate's name").1;
    let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{name} is the name of no test: {said}");
}

/// Runs `f` on a core; what should never take long fails instead of hanging.
pub(crate) fn run<T>(driver: Driver, f: impl Future<Output = T>) -> T {
    sidering_net::block_on(driver, async {
        let f = Box::pin(f);
        deadline(soon(), f).await.expect("it hangs")
    })
    .unwrap()
}

/// A deadline that is never reached unless something hangs.
pub(crate) fn soon() -> Instant {
    now() + Duration::from_secs(60)
}

/// A listener on a free port of this core.
pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let any = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    let bound = BoundListener::bind(&any).unwrap();
    let ListenAddress::Tcp(address) = bound.local_address() else { panic!("asked for TCP") };
    (TcpListener::adopt(bound).unwrap(), address)
}

/// A connection from a blocking socket to this core.
pub(crate) async fn pair() -> (TcpStream, std::net::TcpStream) {
    let (mut listener, address) = listener();
    let peer = std::net::TcpStream::connect(address).unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (ours, peer)
}

/// Reads once; an empty answer is the end.
pub(crate) async fn read_some<S: Stream>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    let mut filled = ReadBuf::new(&mut buffer);
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut filled)).await?;
    Ok(filled.filled().to_vec())
}

/// Polls reading once and leaves it waiting.
pub(crate) async fn wait_for_nothing<S: Stream>(stream: &mut S) {
    let mut buffer = [0; 16];
    poll_fn(|cx| {
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut buffer));
        assert!(polled.is_pending(), "there was something to read");
        Poll::Ready(())
    })
    .await;
}

/// Writes until the kernel takes no more; returns how much it took.
pub(crate) fn write_until_full<S: Stream>(stream: &mut S, cx: &mut Context<'_>) -> usize {
    let mut sent = 0;
    while let Poll::Ready(taken) = Pin::new(&mut *stream).poll_write(cx, &[7; 65536]) {
        sent += taken.unwrap();
    }
    sent
}

/// A waker that counts and passes the wake on.
pub(crate) struct Counted {
    count: AtomicUsize,
    inner: Waker,
}

impl Counted {
    pub(crate) fn over(inner: &Waker) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), inner: inner.clone() })
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.wake_by_ref();
    }
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Gives the core turns until only `expected` descriptors are left.
pub(crate) async fn settle(expected: usize) {
    for _ in 0..10_000 {
        if descriptors() == expected {
            return;
        }
        yield_now().await;
    }
    panic!("{} descriptors are open instead of {expected}", descriptors());
}

/// The CPU time of the thread that made it.
pub(crate) struct ThreadClock(std::fs::File);

impl ThreadClock {
    pub(crate) fn new() -> Self {
        Self(std::fs::File::open("/proc/thread-self/schedstat").unwrap())
    }

    pub(crate) fn elapsed(&mut self) -> Duration {
        let mut text = [0; 128];
        self.0.rewind().unwrap();
        let filled = self.0.read(&mut text).unwrap();
        let text = std::str::from_utf8(&text[..filled]).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    }
}
