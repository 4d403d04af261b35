//! How connections end: an end is told from a reset, nothing is late, and nothing stays behind.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sidering_net::{TcpStream, deadline, now, sleep_until, spawn_local};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    descriptors, listener, on_both_drivers, on_both_drivers_alone, pair, read_some, run, settle, soon,
    wait_for_nothing,
};

/// What a blocking peer sees at this very moment, without waiting.
fn seen_by(peer: &mut std::net::TcpStream) -> std::io::Result<usize> {
    peer.set_nonblocking(true).unwrap();
    peer.read(&mut [0; 16])
}

on_both_drivers! {
    fn an_end_is_told_from_a_reset(driver) {
        run(driver, async {
            for waiting in [false, true] {
                let (mut ours, peer) = pair().await;
                if waiting {
                    wait_for_nothing(&mut ours).await;
                }
                drop(peer);
                assert_eq!(read_some(&mut ours).await.unwrap(), b"", "waiting: {waiting}");

                let (mut ours, peer) = pair().await;
                if waiting {
                    wait_for_nothing(&mut ours).await;
                }
                SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
                let error = read_some(&mut ours).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "waiting: {waiting}");
            }
        });
    }

    /// The short read takes all the data; the end must be seen all the same, and no byte may be lost before it.
    fn data_and_end_in_one_segment(driver) {
        run(driver, async {
            for waiting in [false, true] {
                let (mut ours, mut peer) = pair().await;
                if waiting {
                    wait_for_nothing(&mut ours).await;
                }
                let socket = SockRef::from(&peer);
                socket.set_tcp_cork(true).unwrap();
                peer.write_all(b"0123456789").unwrap();
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                assert_eq!(read_some(&mut ours).await.unwrap(), b"0123456789");
                assert_eq!(read_some(&mut ours).await.unwrap(), b"");
                assert_eq!(read_some(&mut ours).await.unwrap(), b"", "an end stays an end");
            }
        });
    }

    fn writing_goes_on_after_the_peers_end(driver) {
        run(driver, async {
            let (mut ours, mut peer) = pair().await;
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(read_some(&mut ours).await.unwrap(), b"");
            ours.write_all(b"still here").await.unwrap();
            ours.shutdown().await.unwrap();
            let mut got = String::new();
            peer.read_to_string(&mut got).unwrap();
            assert_eq!(got, "still here");
        });
    }

    fn aborting_is_a_reset_at_once_whatever_is_in_flight(driver) {
        run(driver, async {
            for waiting in [false, true] {
                for unsent in [false, true] {
                    let (mut ours, mut peer) = pair().await;
                    if waiting {
                        wait_for_nothing(&mut ours).await;
                    }
                    if unsent {
                        poll_fn(|cx| Poll::Ready(crate::support::write_until_full(&mut ours, cx))).await;
                    }
                    ours.abort();
                    let mut seen = seen_by(&mut peer);
                    while unsent && seen.as_ref().is_ok_and(|&read| read > 0) {
                        seen = seen_by(&mut peer);
                    }
                    let seen = seen.map_err(|error| error.kind());
                    assert_eq!(seen, Err(ErrorKind::ConnectionReset), "waiting: {waiting}, unsent: {unsent}");
                }
            }
        });
    }

    /// Once readiness has told that writing is possible, a reset meanwhile shows in the write.
    fn a_reset_shows_in_the_write_too(driver) {
        run(driver, async {
            let (mut ours, peer) = pair().await;
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let kind = ours.write_all(b"x").await.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
        });
    }
}

on_both_drivers_alone! {
    fn a_dropped_stream_leaves_no_late_end_and_no_descriptor(driver, 256 descriptors) {
        run(driver, async {
            let (mut listener, address) = listener();
            let before = descriptors();
            for round in 0..200 {
                let mut peer = std::net::TcpStream::connect(address).unwrap();
                let (mut ours, _) = listener.accept().await.unwrap();
                wait_for_nothing(&mut ours).await;
                if round % 2 == 0 {
                    // Both directions are waiting.
                    poll_fn(|cx| Poll::Ready(crate::support::write_until_full(&mut ours, cx))).await;
                    peer.set_nonblocking(true).unwrap();
                    while peer.read(&mut [0; 65536]).is_ok() {}
                }
                drop(ours);
                // No turn of the core in between: this read is all that its thread does. What was unsent may still be
                // on its way before the end, for as long as the kernel takes.
                peer.set_nonblocking(false).unwrap();
                peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut seen = peer.read(&mut [0; 65536]);
                while seen.as_ref().is_ok_and(|&read| read > 0) {
                    seen = peer.read(&mut [0; 65536]);
                }
                assert_eq!(seen.map_err(|error| error.kind()), Ok(0), "round {round}");
            }
            settle(before).await;
        });
    }

    /// A scripted exchange is dropped after each number of polls it takes, until one is long enough to end.
    fn a_future_dropped_at_any_await_point_leaves_nothing(driver, 256 descriptors) {
        run(driver, async {
            let before = descriptors();
            for polls in 1.. {
                let mut left = polls;
                let mut exchange = Box::pin(exchange());
                let ended = poll_fn(|cx| {
                    left -= 1;
                    match exchange.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(true),
                        Poll::Pending if left == 0 => Poll::Ready(false),
                        Poll::Pending => Poll::Pending,
                    }
                })
                .await;
                drop(exchange);
                settle(before).await;
                if ended {
                    assert!(polls > 5, "it hardly ever waited");
                    return;
                }
            }
        });
    }

    fn a_worker_that_ends_leaves_no_descriptor(driver, 256 descriptors) {
        let before = descriptors();
        for _ in 0..20 {
            run(driver, async {
                spawn_local(exchange());
                spawn_local(async {
                    let (mut ours, _peer) = pair().await;
                    let _ = read_some(&mut ours).await;
                });
                let mut timer = pin!(sleep_until(now() + Duration::from_millis(1)));
                timer.as_mut().await;
            });
        }
        // Rings are taken down by the kernel in its own time, descriptors at once.
        assert_eq!(descriptors(), before);
    }
}

/// Connects to itself, talks both ways with more than the sockets hold, and ends both ways.
async fn exchange() {
    const LENGTH: usize = 1 << 20;
    let (mut listener, address) = listener();
    let accepting = async {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut got = vec![0; LENGTH];
        server.read_exact(&mut got).await.unwrap();
        server.write_all(&got).await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(read_some(&mut server).await.unwrap(), b"");
    };
    let connecting = async {
        let mut client = TcpStream::connect(address, soon()).await.unwrap();
        client.write_all(&vec![1; LENGTH]).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), LENGTH);
        client.shutdown().await.unwrap();
    };
    let both = async {
        let (mut accepting, mut connecting) = (pin!(accepting), pin!(connecting));
        let (mut accepted, mut connected) = (false, false);
        poll_fn(|cx| {
            accepted = accepted || accepting.as_mut().poll(cx).is_ready();
            connected = connected || connecting.as_mut().poll(cx).is_ready();
            if accepted && connected { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    };
    deadline(soon(), Box::pin(both)).await.unwrap();
}
