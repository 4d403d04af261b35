//! Requests without a pause while certificates change: on connections that are kept, and on a new one for each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::client::Client;

/// A load that runs until it is stopped.
pub(super) struct Load {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
    since: Instant,
}

/// What came of it.
pub(super) struct Tally {
    /// Answered 200 on connections that were kept.
    pub(super) kept: u64,
    /// Answered 200 on a connection of their own.
    pub(super) new: u64,
    /// Anything else.
    pub(super) failed: u64,
    /// How the first of them failed.
    pub(super) first_failure: Option<String>,
    /// Both kinds together.
    pub(super) per_second: f64,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    kept: AtomicU64,
    new: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
}

impl Load {
    /// Begins: two clients that keep their connection, one that does not.
    pub(super) fn start(address: SocketAddr, host: &'static str) -> Self {
        let counts = Arc::new(Counts::default());
        let client = |keep| {
            let counts = counts.clone();
            thread::spawn(move || counts.ask_until_stopped(address, host, keep))
        };
        let threads = vec![client(true), client(true), client(false)];
        Self { counts, threads, since: Instant::now() }
    }

    /// Ends it.
    pub(super) fn stop(self) -> Tally {
        self.counts.stop.store(true, Ordering::Relaxed);
        let seconds = self.since.elapsed().as_secs_f64();
        let panicked = self.threads.into_iter().filter_map(|thread| thread.join().err()).count();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (kept, new) = (count(&self.counts.kept), count(&self.counts.new));
        let failed = count(&self.counts.failed) + panicked as u64;
        let first_failure = self.counts.first_failure.get().cloned();
        Tally { kept, new, failed, first_failure, per_second: (kept + new) as f64 / seconds }
    }
}

impl Counts {
    fn ask_until_stopped(&self, address: SocketAddr, host: &str, keep: bool) {
        let mut open = None;
        while !self.stop.load(Ordering::Relaxed) {
            let client = open.take().map_or_else(|| Client::connect(address), Ok);
            let answered = client.and_then(|mut client| Ok((client.get(host, "/", "")?, client)));
            match answered {
                Ok((answer, client)) if answer.status == 200 => {
                    let counter = if keep { &self.kept } else { &self.new };
                    counter.fetch_add(1, Ordering::Relaxed);
                    open = keep.then_some(client);
                }
                Ok((answer, _)) => self.fail(format!("{} {}", answer.status, answer.body)),
                Err(error) => self.fail(error.to_string()),
            }
        }
    }

    fn fail(&self, how: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        // Only the first is kept.
        let _ = self.first_failure.set(how);
    }
}
