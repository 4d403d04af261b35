//! Threads, one per core, each with its own runtime. Callers give every worker the same function.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

use crate::core::Core;
use crate::pin::{Pin, Place};
use crate::{Driver, Failure};

/// The number of a worker, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// The running worker threads.
#[derive(Debug)]
pub struct Workers(Vec<JoinHandle<Result<(), Failure>>>);

impl Workers {
    /// Waits until every worker's future is done.
    ///
    /// # Errors
    /// [`Failure::WorkerPanicked`] names the first that panicked; the others have been waited for all the same.
    pub fn join(self) -> Result<(), Failure> {
        let mut first = Ok(());
        for (worker, thread) in self.0.into_iter().enumerate() {
            let ended = thread.join().unwrap_or(Err(Failure::WorkerPanicked { worker }));
            first = first.and(ended);
        }
        first
    }
}

/// Starts `n` threads; each runs `f(its number)` on its own core until that future is done.
///
/// # Errors
/// If a thread cannot be started, pinned, or its driver not be made; none is left running then.
pub fn run_workers<F, Fut>(driver: Driver, n: usize, pin: &Pin, f: F) -> Result<Workers, Failure>
where
    F: Fn(WorkerId) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let places = pin.places(n)?;
    let f = Arc::new(f);
    let mut threads = Vec::with_capacity(n);
    // A worker reports that its driver runs and then waits for a word; if one fails, dropping the rest of the
    // words ends the others before `f` was ever called.
    let mut words = Vec::with_capacity(n);
    for (worker, place) in places.into_iter().enumerate() {
        let (report, reported) = mpsc::channel();
        let (word, awaited) = mpsc::channel();
        let f = Arc::clone(&f);
        let body = move || work(driver, place, &report, &awaited, || f(WorkerId(worker)));
        threads.push(
            std::thread::Builder::new()
                .name(format!("worker-{worker}"))
                .spawn(body)
                .map_err(Failure::from)?,
        );
        words.push(word);
        reported.recv().unwrap_or(Err(Failure::WorkerPanicked { worker }))?;
    }
    for word in words {
        // A worker cannot have gone: it is waiting for this word.
        let _ = word.send(());
    }
    Ok(Workers(threads))
}

fn work<Fut: Future<Output = ()>>(
    driver: Driver,
    place: Place,
    report: &mpsc::Sender<Result<(), Failure>>,
    word: &mpsc::Receiver<()>,
    f: impl FnOnce() -> Fut,
) -> Result<(), Failure> {
    let started = place.take().and_then(|()| {
        Core::run(driver, async {
            // Blocks the thread, on which nothing else runs yet.
            if report.send(Ok(())).is_ok() && word.recv().is_ok() {
                f().await;
            }
        })
    });
    // After a start this finds nobody listening.
    if let Err(failure) = started {
        let _ = report.send(Err(failure));
    }
    Ok(())
}

/// Makes the current thread a worker until `f` is done. What it spawned is dropped then. For tests and tools.
///
/// # Errors
/// If the driver cannot be made.
pub fn block_on<T>(driver: Driver, f: impl Future<Output = T>) -> Result<T, Failure> {
    Core::run(driver, f)
}

/// Runs `f` beside the caller, on the same core. It is dropped when the worker ends.
///
/// # Panics
/// Outside a worker.
pub fn spawn_local(f: impl Future<Output = ()> + 'static) {
    Core::current().spawn(f);
}

/// Wakes `waker` after every other task, timer and socket of this core had its turn. To wake oneself inside
/// one's own poll instead would stop the core: the runtime runs such a task again before anything else.
///
/// # Panics
/// Outside a worker.
pub fn later(waker: &Waker) {
    Core::current().later(waker);
}

/// Lets every other task, timer and socket of this core have its turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        later(cx.waker());
        Poll::Pending
    })
    .await;
}
