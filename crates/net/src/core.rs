//! One core's state: its epoll set, its doorbell, who waits for the doorbell, and its tasks. One per worker
//! thread; found through a thread-local, since a future is polled on its own core only.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use crate::gather::{Gathering, end_rounds};
use crate::runtime::{self, Pollable, Runtime};
use crate::set::Set;
use crate::sys::Doorbell;
use crate::{Driver, Failure};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

pub(crate) struct Core {
    pub(crate) driver: Driver,
    pub(crate) set: Set,
    doorbell: Arc<Doorbell>,
    /// Tasks to wake once everything else had its turn.
    deferred: RefCell<Vec<Waker>>,
    pub(crate) gathering: Gathering,
    /// Who waits for another thread's sign.
    bells: RefCell<Vec<(Arc<AtomicBool>, Waker)>>,
    tasks: RefCell<Tasks>,
    ending: Cell<bool>,
    ended: Cell<bool>,
}

/// A waker per task, so that the worker's end can reach every one.
#[derive(Default)]
struct Tasks {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Core {
    fn new(driver: Driver) -> std::io::Result<Self> {
        let doorbell = Arc::new(Doorbell::new()?);
        Ok(Self {
            driver,
            set: Set::new(doorbell.fd())?,
            doorbell,
            deferred: RefCell::default(),
            gathering: Gathering::default(),
            bells: RefCell::default(),
            tasks: RefCell::default(),
            ending: Cell::new(false),
            ended: Cell::new(false),
        })
    }

    /// Makes this thread a core until `f` is done, then drops every task while the driver still runs, so that no
    /// socket outlives it.
    pub(crate) fn run<T>(driver: Driver, f: impl Future<Output = T>) -> Result<T, Failure> {
        let mut runtime = Runtime::new(driver)?;
        let core = Rc::new(Self::new(driver)?);
        let _current = Entered::new(&core);
        runtime.block_on(async {
            let events = Pollable::adopt(core.set.pollable()?)?;
            let reactor = runtime::spawn(react(Rc::clone(&core), events));
            let rounds = runtime::spawn(end_rounds(Rc::clone(&core)));
            let result = f.await;
            core.end().await;
            reactor.await;
            rounds.await;
            Ok(result)
        })
    }

    pub(crate) fn current() -> Rc<Self> {
        Self::try_current().expect("called on a worker")
    }

    pub(crate) fn try_current() -> Option<Rc<Self>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// See [`crate::later`].
    pub(crate) fn later(&self, waker: &Waker) {
        let first = {
            let mut deferred = self.deferred.borrow_mut();
            deferred.push(waker.clone());
            deferred.len() == 1
        };
        if first {
            self.doorbell.ring();
        }
    }

    pub(crate) fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbell
    }

    /// Wakes `waker` when the doorbell rings and `rung` is set; once.
    pub(crate) fn await_bell(&self, rung: &Arc<AtomicBool>, waker: &Waker) {
        let mut bells = self.bells.borrow_mut();
        let known = bells.iter_mut().find(|(known, _)| Arc::ptr_eq(known, rung));
        let old = match known {
            Some((_, waiting)) if waiting.will_wake(waker) => None,
            Some((_, waiting)) => Some(std::mem::replace(waiting, waker.clone())),
            None => {
                bells.push((Arc::clone(rung), waker.clone()));
                None
            }
        };
        drop(bells);
        drop(old);
    }

    pub(crate) fn forget_bell(&self, rung: &Arc<AtomicBool>) {
        let mut bells = self.bells.borrow_mut();
        let known = bells.iter().position(|(known, _)| Arc::ptr_eq(known, rung));
        let old = known.map(|index| bells.swap_remove(index));
        drop(bells);
        drop(old);
    }

    fn answer_doorbell(&self) {
        // Whoever defers while these run goes into a new list and rings again.
        self.deferred.take().into_iter().for_each(Waker::wake);
        let rung = {
            let mut bells = self.bells.borrow_mut();
            let (rung, silent) = bells.drain(..).partition(|(rung, _)| rung.swap(false, Ordering::AcqRel));
            *bells = silent;
            rung
        };
        let rung: Vec<(Arc<AtomicBool>, Waker)> = rung;
        rung.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// See [`crate::spawn_local`].
    pub(crate) fn spawn(self: Rc<Self>, f: impl Future<Output = ()> + 'static) {
        let place = Place::new(&self);
        let mut future = Box::pin(f);
        drop(runtime::spawn(poll_fn(move |cx| {
            if place.core.ending.get() {
                return Poll::Ready(());
            }
            place.note(cx.waker());
            future.as_mut().poll(cx)
        })));
    }

    async fn end(&self) {
        self.ending.set(true);
        while self.tasks.borrow().count() > 0 {
            let wakers: Vec<Waker> = self.tasks.borrow().wakers.iter().flatten().cloned().collect();
            wakers.into_iter().for_each(Waker::wake);
            crate::yield_now().await;
        }
        self.ended.set(true);
        self.doorbell.ring();
        self.gathering.end();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }
}

impl Tasks {
    fn count(&self) -> usize {
        self.wakers.len() - self.free.len()
    }
}

/// A task's place in the list of its core, given up when the task is dropped.
struct Place {
    core: Rc<Core>,
    index: usize,
    known: Cell<bool>,
}

impl Place {
    fn new(core: &Rc<Core>) -> Self {
        let mut tasks = core.tasks.borrow_mut();
        let index = tasks.free.pop().unwrap_or_else(|| {
            tasks.wakers.push(None);
            tasks.wakers.len() - 1
        });
        Self { core: Rc::clone(core), index, known: Cell::new(false) }
    }

    /// A task's waker never changes, so that noting the first is enough.
    fn note(&self, waker: &Waker) {
        if !self.known.replace(true) {
            self.core.tasks.borrow_mut().wakers[self.index] = Some(waker.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tasks = self.core.tasks.borrow_mut();
        tasks.free.push(self.index);
        let waker = tasks.wakers[self.index].take();
        drop(tasks);
        drop(waker);
    }
}

async fn react(core: Rc<Core>, events: Pollable) {
    while !core.ended.get() {
        events.has_events(core.driver).await;
        if core.set.turn() {
            core.answer_doorbell();
        }
    }
}

/// Sets the thread's core and takes it back, also when a test's future panics.
struct Entered;

impl Entered {
    fn new(core: &Rc<Core>) -> Self {
        CURRENT.set(Some(Rc::clone(core)));
        Self
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
