//! Threads, one per core, each with its own runtime. Callers give every worker the same function.

use std::future::Future;
use std::task::Waker;

use crate::{Driver, Failure};

/// The number of a worker, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// Whether workers stay on one CPU each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pin {
    /// Only where the affinity mask has no more CPUs than there are workers and the cgroup CPU quota is whole.
    #[default]
    Auto,
    /// Worker n on the n-th CPU of the affinity mask.
    Yes,
    /// Never.
    No,
    /// Worker n on the n-th of these CPUs.
    Cpus(Vec<usize>),
}

/// The running worker threads.
#[derive(Debug)]
pub struct Workers(());

impl Workers {
    /// Waits until every worker's future is done.
    ///
    /// # Errors
    /// [`Failure::WorkerPanicked`] names the first that panicked; a driver that failed to start is told as such.
    pub fn join(self) -> Result<(), Failure> {
        todo!()
    }
}

/// Starts `n` threads; each runs `f(its number)` on its own core until that future is done.
///
/// # Errors
/// If a thread cannot be started, pinned, or its driver not be made; none is left running then.
pub fn run_workers<F, Fut>(_driver: Driver, _n: usize, _pin: &Pin, _f: F) -> Result<Workers, Failure>
where
    F: Fn(WorkerId) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    todo!()
}

/// Makes the current thread a worker until `f` is done. What it spawned is dropped then. For tests and tools.
///
/// # Errors
/// If the driver cannot be made.
pub fn block_on<T>(_driver: Driver, _f: impl Future<Output = T>) -> Result<T, Failure> {
    todo!()
}

/// Runs `f` beside the caller, on the same core. It is dropped when the worker ends.
///
/// # Panics
/// Outside a worker.
pub fn spawn_local(_f: impl Future<Output = ()> + 'static) {
    todo!()
}

/// Wakes `waker` after every other task, timer and socket of this core had its turn. To wake oneself inside
/// one's own poll instead would stop the core: the runtime runs such a task again before anything else.
///
/// # Panics
/// Outside a worker.
pub fn later(_waker: &Waker) {
    todo!()
}

/// Lets every other task, timer and socket of this core have its turn.
pub async fn yield_now() {
    todo!()
}
