//! Wakes: none lost, none doubled, from this thread and from others.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sidering_net::{
    Elapsed, Idle, TcpStream, Timer, deadline, mailbox, now, sleep_until, spawn_local, yield_now,
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::support::{Counted, on_both_drivers, pair, run, write_until_full};

/// Reads all there is through `cx`, tells `each` of every byte, and returns how many came.
fn read_all(stream: &mut TcpStream, cx: &mut Context<'_>, mut each: impl FnMut()) -> usize {
    let mut buffer = [0; 64];
    let mut total = 0;
    loop {
        let mut filled = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *stream).poll_read(cx, &mut filled) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => return total,
        }
        for _ in 0..filled.filled().len() {
            total += 1;
            each();
        }
    }
}

on_both_drivers! {
    fn one_wake_per_arrival(driver) {
        const ARRIVALS: usize = 500;
        run(driver, async {
            let (mut ours, mut peer) = pair().await;
            let (seen, acknowledged) = mpsc::channel();
            let sender = std::thread::spawn(move || {
                for _ in 0..ARRIVALS {
                    peer.write_all(b"x").unwrap();
                    acknowledged.recv().unwrap();
                }
                peer
            });
            let (mut polls, mut arrived) = (0, 0);
            poll_fn(|cx| {
                polls += 1;
                arrived += read_all(&mut ours, cx, || seen.send(()).unwrap());
                if arrived == ARRIVALS { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            // The first byte may have been there before the first look.
            assert!(polls == ARRIVALS + 1 || polls == ARRIVALS, "{polls} polls");
            sender.join().unwrap();
        });
    }

    fn directions_do_not_wake_each_other(driver) {
        run(driver, async {
            let (mut ours, mut peer) = pair().await;
            let mut wakers = None;
            let (seen, acknowledged) = mpsc::channel();
            let (may_drain, drain) = mpsc::channel::<usize>();
            let peer = std::thread::spawn(move || {
                for _ in 0..10 {
                    acknowledged.recv().unwrap();
                    peer.write_all(b"x").unwrap();
                }
                acknowledged.recv().unwrap();
                let mut sunk = vec![0; drain.recv().unwrap()];
                peer.read_exact(&mut sunk).unwrap();
                peer
            });
            let (mut written, mut arrived, mut draining) = (0, 0, false);
            poll_fn(|cx| {
                let (reader, writer) = &*wakers.get_or_insert_with(|| (Counted::over(cx.waker()), Counted::over(cx.waker())));
                let (read_waker, write_waker) = (Waker::from(Arc::clone(reader)), Waker::from(Arc::clone(writer)));
                arrived += read_all(&mut ours, &mut Context::from_waker(&read_waker), || seen.send(()).unwrap());
                if written == 0 {
                    written = write_until_full(&mut ours, &mut Context::from_waker(&write_waker));
                    seen.send(()).unwrap();
                }
                if arrived == 10 && !draining {
                    assert_eq!((reader.count(), writer.count()), (10, 0));
                    draining = true;
                    may_drain.send(written).unwrap();
                }
                if writer.count() == 0 {
                    return Poll::Pending;
                }
                assert_eq!(reader.count(), 10, "draining wakes the writer only");
                assert!(write_until_full(&mut ours, &mut Context::from_waker(&write_waker)) > 0);
                Poll::Ready(())
            })
            .await;
            peer.join().unwrap();
        });
    }

    fn a_stream_moved_to_another_task_wakes_that_one_only(driver) {
        run(driver, async {
            let (mut ours, mut peer) = pair().await;
            let first = poll_fn(|cx| {
                let first = Counted::over(cx.waker());
                let waker = Waker::from(Arc::clone(&first));
                assert_eq!(read_all(&mut ours, &mut Context::from_waker(&waker), || {}), 0);
                Poll::Ready(first)
            })
            .await;
            let (answer, mut answered) = mailbox();
            spawn_local(async move {
                let mut arrived = 0;
                poll_fn(|cx| {
                    arrived += read_all(&mut ours, cx, || {});
                    if arrived == 1 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                answer.send(()).unwrap();
            });
            yield_now().await;
            peer.write_all(b"x").unwrap();
            answered.recv().await.unwrap();
            assert_eq!(first.count(), 0);
        });
    }

    fn no_item_of_a_mailbox_is_lost(driver) {
        const ITEMS: usize = 20_000;
        run(driver, async {
            let (sender, mut receiver) = mailbox();
            let received = Arc::new(AtomicUsize::new(0));
            let sending = std::thread::spawn({
                let received = Arc::clone(&received);
                move || {
                    for item in 0..ITEMS {
                        sender.send(item).unwrap();
                        // A quarter of them go to a core that sleeps, or is just about to.
                        while item % 4 == 0 && received.load(Ordering::Acquire) <= item {
                            std::thread::yield_now();
                        }
                    }
                }
            });
            for expected in 0..ITEMS {
                assert_eq!(receiver.recv().await, Some(expected));
                received.store(expected + 1, Ordering::Release);
            }
            assert_eq!(receiver.recv().await, None, "every sender is gone");
            sending.join().unwrap();
        });
    }

    fn no_wake_from_another_thread_is_lost(driver) {
        const WAKES: usize = 20_000;
        run(driver, async {
            let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
            let told = Arc::new(AtomicUsize::new(0));
            let waking = std::thread::spawn({
                let (waker, told) = (Arc::clone(&waker), Arc::clone(&told));
                move || {
                    for round in 1..=WAKES {
                        let waker = loop {
                            match waker.lock().unwrap().take() {
                                Some(waker) => break waker,
                                None => std::thread::yield_now(),
                            }
                        };
                        told.store(round, Ordering::Release);
                        waker.wake();
                    }
                }
            });
            for round in 1..=WAKES {
                let mut waiting = false;
                poll_fn(|cx| {
                    if waiting && told.load(Ordering::Acquire) == round {
                        return Poll::Ready(());
                    }
                    if !waiting {
                        *waker.lock().unwrap() = Some(cx.waker().clone());
                        waiting = true;
                    }
                    Poll::Pending
                })
                .await;
            }
            waking.join().unwrap();
        });
    }

    fn a_mailbox_tells_the_sender_that_the_receiver_is_gone(driver) {
        run(driver, async {
            let (sender, receiver) = mailbox();
            sender.send(1).unwrap();
            drop(receiver);
            assert_eq!(sender.send(2), Err(2));
        });
    }

    fn timers_never_fire_early_and_can_be_moved(driver) {
        run(driver, async {
            // Armed for long after this test has failed for hanging, then moved to the front.
            let mut timer = Timer::at(now() + Duration::from_secs(3_600));
            let mut fired_at = async |to: Duration| {
                let _ = poll_fn(|cx| Poll::Ready(timer.poll_fired(cx))).await;
                let at = now() + to;
                timer.reset(at);
                poll_fn(|cx| timer.poll_fired(cx)).await;
                assert!(now() >= at, "moved by {to:?}");
            };
            fired_at(Duration::from_millis(10)).await;
            // And again after it has fired; it is armed for a past that must not count.
            fired_at(Duration::from_millis(20)).await;
            fired_at(Duration::from_millis(5)).await;
            let mut later = Timer::at(now() + Duration::from_millis(5));
            let _ = poll_fn(|cx| Poll::Ready(later.poll_fired(cx))).await;
            let at = now() + Duration::from_millis(30);
            later.reset(at);
            poll_fn(|cx| later.poll_fired(cx)).await;
            assert!(now() >= at, "the wheel had it earlier");
        });
    }

    fn a_deadline_lets_a_result_win_and_drops_what_is_late(driver) {
        run(driver, async {
            assert_eq!(deadline(now(), async { 7 }).await, Ok(7), "ready at once, though the deadline has passed");
            let soon = now() + Duration::from_millis(10);
            assert_eq!(deadline(soon, std::future::pending::<()>()).await, Err(Elapsed));
            assert!(now() >= soon);
        });
    }

    fn idleness_counts_from_the_last_touch(driver) {
        run(driver, async {
            let limit = Duration::from_millis(40);
            let mut idle = Idle::new(limit);
            sleep_until(now() + limit / 2).await;
            let touched = now();
            idle.touch(touched);
            poll_fn(|cx| idle.poll_expired(cx)).await;
            assert!(now() >= touched + limit);
        });
    }

    /// What a worker leaves behind when it ends: its tasks are dropped, and what they owned with them.
    fn the_end_of_a_worker_drops_its_tasks(driver) {
        let owned = Arc::new(());
        run(driver, async {
            for _ in 0..10 {
                let owned = Arc::clone(&owned);
                spawn_local(async move {
                    let (mut ours, _peer) = pair().await;
                    let mut byte = [0];
                    let _ = poll_fn(|cx| Pin::new(&mut ours).poll_read(cx, &mut ReadBuf::new(&mut byte))).await;
                    drop(owned);
                });
            }
            yield_now().await;
        });
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}

#[test]
fn a_mailbox_can_be_filled_before_its_worker_exists() {
    let (sender, mut receiver) = mailbox();
    sender.send(5).unwrap();
    let received = run(sidering_net::Driver::Epoll, async { receiver.recv().await });
    assert_eq!(received, Some(5));
}
