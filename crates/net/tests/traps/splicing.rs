//! Bulk between sockets, which goes through pipes of the kernel instead of through our memory.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as Peer};

use bytes::BytesMut;
use sidering_net::{Counters, Prefixed, RelayFailure, relay};
use socket2::SockRef;

use crate::relaying::{block, ends, receive_all, relayed, reset, reset_when_stuck, send_all, until_stuck};
use crate::support::{descriptors, on_both_drivers, on_both_drivers_alone, run};

/// How many ends of pipes this process has open.
fn pipe_ends() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path().read_link());
    links.filter(|link| link.as_ref().is_ok_and(|to| to.to_string_lossy().starts_with("pipe:"))).count()
}

on_both_drivers_alone! {
    fn bulk_takes_one_pipe_per_direction_which_is_closed_with_the_thread(driver, 256 descriptors) {
        let (before, pipes) = (descriptors(), pipe_ends());
        let core = std::thread::spawn(move || {
            run(driver, async {
                for _ in 0..3 {
                    let (ended, _) = relayed(send_all, receive_all).await;
                    ended.unwrap();
                }
            });
            pipe_ends()
        });
        assert_eq!(core.join().unwrap(), pipes + 2, "one pipe was made, and used again");
        assert_eq!((descriptors(), pipe_ends()), (before, pipes));
    }

    fn what_is_small_takes_no_pipe(driver, 256 descriptors) {
        let pipes = pipe_ends();
        run(driver, async {
            fn ask(peer: &mut Peer) {
                for _ in 0..100 {
                    peer.write_all(&[1; 1000]).unwrap();
                    peer.read_exact(&mut [0; 1000]).unwrap();
                }
                peer.shutdown(Shutdown::Write).unwrap();
            }
            let (ended, _) = relayed(ask, |server| { std::io::copy(&mut server.try_clone().unwrap(), server).unwrap(); }).await;
            ended.unwrap();
        });
        assert_eq!(pipe_ends(), pipes);
    }

    fn without_a_descriptor_for_a_pipe_bytes_are_copied(driver, 64 descriptors) {
        let pipes = pipe_ends();
        run(driver, async {
            let (mut downstream, mut upstream, mut client, mut server) = ends().await;
            let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            let threads = [
                std::thread::spawn(move || send_all(&mut client)),
                std::thread::spawn(move || { receive_all(&mut server); server.shutdown(Shutdown::Write).unwrap() }),
            ];
            relay(&mut downstream, &mut upstream, None, &Counters::default()).await.unwrap();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            drop(taken);
        });
        assert_eq!(pipe_ends(), pipes);
    }

    /// The sink is full, and there are bytes in the pipe.
    fn a_pipe_with_bytes_of_a_broken_relay_is_closed(driver, 256 descriptors) {
        let pipes = pipe_ends();
        run(driver, async {
            for _ in 0..3 {
                let (ended, _) = relayed(|client| { client.write_all(&vec![1; 256 << 20]).unwrap_err(); }, reset_when_stuck).await;
                assert!(matches!(ended, Err(RelayFailure::B(_))), "{ended:?}");
                assert_eq!(pipe_ends(), pipes);
                // Nor do its bytes turn up in the next.
                relayed(|client| { client.write_all(b"x").unwrap(); client.shutdown(Shutdown::Write).unwrap() }, |server| {
                    let mut got = Vec::new();
                    server.read_to_end(&mut got).unwrap();
                    assert_eq!(got, b"x");
                }).await.0.unwrap();
            }
        });
    }
}

on_both_drivers! {
    fn a_sink_that_stops_reading_gets_everything_later(driver) {
        run(driver, async {
            let late = |server: &mut Peer| {
                until_stuck(server);
                receive_all(server);
                send_all(server);
            };
            let (ended, counters) = relayed(|client| { send_all(client); until_stuck(client); receive_all(client) }, late).await;
            ended.unwrap();
            assert_eq!(counters.forward.get(), counters.backward.get());
        });
    }

    fn who_resets_amid_bulk_is_the_one_that_failed(driver) {
        run(driver, async {
            fn read_some(peer: &mut Peer) {
                let mut got = vec![0; 8 << 20];
                peer.read_exact(&mut got).unwrap();
            }
            fn read_on(peer: &mut Peer) {
                std::io::copy(peer, &mut std::io::sink()).unwrap_err();
            }
            fn write_some(peer: &mut Peer) {
                peer.write_all(&vec![1; 8 << 20]).unwrap();
                reset(peer);
            }
            fn write_on(peer: &mut Peer) {
                peer.write_all(&vec![1; 256 << 20]).unwrap_err();
            }
            let (ended, _) = relayed(write_on, |server| { read_some(server); reset(server) }).await;
            assert!(matches!(ended, Err(RelayFailure::B(_))), "{ended:?}");
            let (ended, _) = relayed(|client| { read_some(client); reset(client) }, write_on).await;
            assert!(matches!(ended, Err(RelayFailure::A(_))), "{ended:?}");
            let (ended, _) = relayed(write_some, read_on).await;
            assert!(matches!(ended, Err(RelayFailure::A(_))), "{ended:?}");
            let (ended, _) = relayed(read_on, write_some).await;
            assert!(matches!(ended, Err(RelayFailure::B(_))), "{ended:?}");
        });
    }

    /// Splicing stops there for good; reading leaves the byte out and goes on.
    fn urgent_data_amid_bulk_stops_nothing(driver) {
        run(driver, async {
            let (ended, _) = relayed(
                |client| {
                    let bulk = block().repeat(16);
                    client.write_all(&bulk).unwrap();
                    SockRef::from(&*client).send_out_of_band(b"!").unwrap();
                    client.write_all(&bulk).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                },
                |server| {
                    let mut got = Vec::new();
                    server.read_to_end(&mut got).unwrap();
                    assert!(got == block().repeat(32), "{} bytes came", got.len());
                },
            )
            .await;
            ended.unwrap();
        });
    }

    fn a_prefix_comes_before_the_bulk(driver) {
        run(driver, async {
            let (downstream, mut upstream, mut client, mut server) = ends().await;
            let threads = [
                std::thread::spawn(move || send_all(&mut client)),
                std::thread::spawn(move || {
                    let mut first = [0; 7];
                    server.read_exact(&mut first).unwrap();
                    assert_eq!(&first, b"sniffed");
                    receive_all(&mut server);
                    server.shutdown(Shutdown::Write).unwrap();
                }),
            ];
            let mut downstream = Prefixed::new(downstream, BytesMut::from(&b"sniffed"[..]));
            relay(&mut downstream, &mut upstream, None, &Counters::default()).await.unwrap();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    fn small_pieces_after_bulk_and_bulk_after_them_arrive_in_order(driver) {
        run(driver, async {
            fn talk(peer: &mut Peer, first: bool) {
                let (block, mut got) = (block(), vec![0; block().len()]);
                for length in [block.len(), 1, block.len(), 10] {
                    let send = |peer: &mut Peer| (0..8).for_each(|_| peer.write_all(&block[..length]).unwrap());
                    if first {
                        send(peer);
                    }
                    for _ in 0..8 {
                        peer.read_exact(&mut got[..length]).unwrap();
                        assert!(got[..length] == block[..length]);
                    }
                    if !first {
                        send(peer);
                    }
                }
                peer.shutdown(Shutdown::Write).unwrap();
            }
            relayed(|client| talk(client, true), |server| talk(server, false)).await.0.unwrap();
        });
    }
}
