//! Our own edge-triggered epoll set, one per core: who is ready. It holds every socket and the doorbell; under both
//! drivers the runtime waits for its one descriptor.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use crate::Scratch;
use crate::ahead::{Ahead, MUCH};
use crate::core::Core;
use crate::runtime::Direction;
use crate::sys::epoll::Epoll;

/// Ready states of a slot, as bits. `clear` never takes the closed ones away: data and FIN may come in one edge,
/// and a short read must not hide the FIN behind it.
const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const READ_CLOSED: u8 = 4;
const WRITE_CLOSED: u8 = 8;

/// A receive stops at the mark of urgent data (tcp(7)), or before an error: that it was short does not say that it took
/// all there was. Lasts until a call finds nothing.
const URGENT: u8 = 16;

/// For how many readers a turn receives at most; the others do so themselves. A turn is to be short, whoever sends.
pub(crate) const TOGETHER: usize = 256;

const DOORBELL: u64 = u64::MAX;

pub(crate) struct Set {
    epoll: Epoll,
    slots: RefCell<Slots>,
    /// Kept between turns for its allocation only.
    wakes: RefCell<Vec<Waker>>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    /// Part of the token, so that an event for the last owner of the slot is not taken for one of the next.
    generation: u32,
    ready: u8,
    reader: Option<Waker>,
    writer: Option<Waker>,
    ahead: Ahead,
}

impl Slot {
    fn waker(&mut self, direction: Direction) -> &mut Option<Waker> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    /// Less was received than there was room for.
    fn received_short(&mut self) {
        if self.ready & URGENT == 0 {
            self.ready &= !READABLE;
        }
    }
}

impl Set {
    pub(crate) fn new(doorbell: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(doorbell, libc::EPOLLIN | libc::EPOLLET, DOORBELL)?;
        Ok(Self { epoll, slots: RefCell::default(), wakes: RefCell::default() })
    }

    /// A descriptor that is readable while the set has events.
    pub(crate) fn pollable(&self) -> io::Result<OwnedFd> {
        self.epoll.duplicate()
    }

    /// Takes all events and wakes whom they concern; tells whether the doorbell rang.
    pub(crate) fn turn(&self) -> bool {
        let mut wakes = self.wakes.take();
        let mut rang = false;
        let mut scratch = Scratch::take();
        let mut receives = TOGETHER;
        self.epoll.harvest(|events, token| match token {
            DOORBELL => rang = true,
            _ => self.note(events, token, &mut scratch[..MUCH], &mut receives, &mut wakes),
        });
        drop(scratch);
        // Only now, and without a borrow: waking can run a destructor that drops a socket of this set.
        wakes.drain(..).for_each(Waker::wake);
        self.wakes.replace(wakes);
        rang
    }

    /// `receives`: for how many readers the turn may still receive.
    fn note(
        &self,
        events: libc::c_int,
        token: u64,
        buffer: &mut [u8],
        receives: &mut usize,
        wakes: &mut Vec<Waker>,
    ) {
        let mut slots = self.slots.borrow_mut();
        let (index, generation) = (token as u32, (token >> 32) as u32);
        let Some(slot) = slots.all.get_mut(index as usize).filter(|slot| slot.generation == generation)
        else {
            return;
        };
        let told = ready_bits(events);
        slot.ready |= told;
        if told & (READABLE | READ_CLOSED) != 0
            && let Some(reader) = slot.reader.take()
        {
            if *receives > 0 && slot.ahead.is_wanted() {
                *receives -= 1;
                if slot.ahead.receive(buffer) {
                    slot.received_short();
                }
            }
            wakes.push(reader);
        }
        if told & (WRITABLE | WRITE_CLOSED) != 0 {
            wakes.extend(slot.writer.take());
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let slots = self.slots.borrow();
        slots.all.len() - slots.free.len()
    }
}

fn ready_bits(events: libc::c_int) -> u8 {
    let has = |bits| events & bits != 0;
    let mut ready = 0;
    if has(libc::EPOLLIN | libc::EPOLLERR) {
        ready |= READABLE;
    }
    if has(libc::EPOLLOUT | libc::EPOLLERR) {
        ready |= WRITABLE;
    }
    // After either of these a call never answers EAGAIN again, so that a lasting bit cannot make anyone spin.
    if has(libc::EPOLLRDHUP | libc::EPOLLHUP) {
        ready |= READ_CLOSED;
    }
    if has(libc::EPOLLHUP) {
        ready |= WRITE_CLOSED;
    }
    if has(libc::EPOLLPRI | libc::EPOLLERR) {
        ready |= URGENT;
    }
    ready
}

/// A descriptor in the set of its core.
pub(crate) struct Registered {
    // Dropped before the descriptor, so that the slot is free before the number can come back.
    slot: Registration,
    fd: OwnedFd,
}

struct Registration {
    core: Rc<Core>,
    index: u32,
}

impl Registered {
    /// Puts `fd` into the current core's set. `ready` says which directions to try before the first event.
    pub(crate) fn new(fd: OwnedFd, ready: &[Direction]) -> io::Result<Self> {
        let core = Core::current();
        let slot = Registration::new(&core, fd.as_raw_fd(), ready);
        let token = u64::from(slot.with(|slot| slot.generation)) << 32 | u64::from(slot.index);
        let interest = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        core.set.epoll.add(fd.as_fd(), interest, token)?;
        Ok(Self { slot, fd })
    }

    pub(crate) fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let replaced = self.slot.with(|slot| {
            let received = direction == Direction::Read && slot.ahead.has_received();
            if received || slot.ready & any_of(direction) != 0 {
                return Err(());
            }
            let waker = slot.waker(direction);
            if waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Ok(None);
            }
            Ok(waker.replace(cx.waker().clone()))
        });
        match replaced {
            // The old waker, if any, is dropped here, outside the borrow.
            Ok(_) => Poll::Pending,
            Err(()) => Poll::Ready(()),
        }
    }

    /// What was received ahead of its reader.
    pub(crate) fn ahead<T>(&self, f: impl FnOnce(&mut Ahead) -> T) -> T {
        self.slot.with(|slot| f(&mut slot.ahead))
    }

    /// The reader has received so many bytes itself, into `room`.
    pub(crate) fn received(&self, length: usize, room: usize) {
        self.slot.with(|slot| {
            slot.ahead.note(length);
            // An end is tracked apart, so that it cannot hide behind the last bytes.
            if 0 < length && length < room {
                slot.received_short();
            }
        });
    }

    /// A call found nothing, or did not send all: wait for the next event.
    pub(crate) fn clear(&self, direction: Direction) {
        let open = match direction {
            Direction::Read => READABLE | URGENT,
            Direction::Write => WRITABLE,
        };
        self.slot.with(|slot| slot.ready &= !open);
    }

    /// Waits until `call` does not answer EAGAIN.
    pub(crate) fn poll_call<T>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_ready(direction, cx));
            match call(self.fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clear(direction),
                result => return Poll::Ready(result),
            }
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes it out of the set although other descriptors of the same socket live on.
    pub(crate) fn forget(&self) {
        self.slot.core.set.epoll.delete(self.fd.as_fd());
    }
}

fn any_of(direction: Direction) -> u8 {
    match direction {
        Direction::Read => READABLE | READ_CLOSED,
        Direction::Write => WRITABLE | WRITE_CLOSED,
    }
}

impl Registration {
    fn new(core: &Rc<Core>, fd: RawFd, ready: &[Direction]) -> Self {
        let mut slots = core.set.slots.borrow_mut();
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot::default());
            u32::try_from(slots.all.len() - 1).expect("fewer sockets than descriptors, which are 32 bits")
        });
        let slot = &mut slots.all[index as usize];
        slot.ahead = Ahead::of(fd);
        slot.ready =
            ready.iter().fold(0, |bits, &direction| bits | any_of(direction) & (READABLE | WRITABLE));
        Self { core: Rc::clone(core), index }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Slot) -> T) -> T {
        f(&mut self.core.set.slots.borrow_mut().all[self.index as usize])
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let wakers = self.with(|slot| {
            slot.generation = slot.generation.wrapping_add(1);
            slot.ahead = Ahead::default();
            (slot.reader.take(), slot.writer.take())
        });
        self.core.set.slots.borrow_mut().free.push(self.index);
        // Last and without a borrow: the last waker of a task drops the task.
        drop(wakers);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{block_on, yield_now};

    /// One poll of `direction` with a waker that does nothing.
    fn is_ready(registered: &Registered, direction: Direction) -> bool {
        registered.poll_ready(direction, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_dropped_socket_gives_its_slot_back_and_its_events_are_not_taken_for_the_next_one() {
        block_on(crate::Driver::Epoll, async {
            let set = &Core::current().set;
            for _ in 0..100 {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let first = Registered::new(ours.into(), &[]).unwrap();
                let index = first.slot.index;
                // Its event is pending in the set when it goes, and its duplicate keeps it there.
                let duplicate = first.fd.try_clone().unwrap();
                std::io::Write::write_all(&mut &theirs, b"x").unwrap();
                drop(first);
                let (ours, _silent) = UnixStream::pair().unwrap();
                let second = Registered::new(ours.into(), &[]).unwrap();
                assert_eq!(second.slot.index, index, "the slot is used again");
                yield_now().await;
                assert!(!is_ready(&second, Direction::Read), "the event of the last owner");
                assert!(is_ready(&second, Direction::Write));
                drop((second, duplicate));
                assert_eq!(set.len(), 0);
            }
        })
        .unwrap();
    }

    #[test]
    fn clearing_leaves_the_end_visible() {
        block_on(crate::Driver::Epoll, async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let registered = Registered::new(ours.into(), &[]).unwrap();
            drop(theirs);
            yield_now().await;
            registered.clear(Direction::Read);
            registered.clear(Direction::Write);
            assert!(is_ready(&registered, Direction::Read));
            assert!(is_ready(&registered, Direction::Write));
        })
        .unwrap();
    }
}
