//! The byte pump between two sockets, and over streams that hold bytes back.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener as Door, TcpStream as Peer};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use sidering_net::{
    Counters, RelayFailure, Stream, TcpStream, deadline, now, relay, sleep_until, spawn_local, yield_now,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};

use crate::support::{on_both_drivers, pair, run, soon};

const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 64;

/// A block whose every position is told from its neighbours.
pub(crate) fn block() -> Vec<u8> {
    (0..BLOCK as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).take(BLOCK).collect()
}

pub(crate) fn send_all(peer: &mut Peer) {
    let block = block();
    for _ in 0..BLOCKS {
        peer.write_all(&block).unwrap();
    }
    peer.shutdown(Shutdown::Write).unwrap();
}

pub(crate) fn receive_all(peer: &mut Peer) {
    let (block, mut got) = (block(), vec![0; BLOCK]);
    for _ in 0..BLOCKS {
        peer.read_exact(&mut got).unwrap();
        assert!(got == block, "bytes were changed, lost or doubled");
    }
    assert_eq!(peer.read(&mut got).unwrap(), 0);
}

/// Our two ends of a relay, and the peers beyond them.
pub(crate) async fn ends() -> (TcpStream, TcpStream, Peer, Peer) {
    let (downstream, client) = pair().await;
    let door = Door::bind("127.0.0.1:0").unwrap();
    let upstream = TcpStream::connect(door.local_addr().unwrap(), soon()).await.unwrap();
    let (server, _) = door.accept().unwrap();
    (downstream, upstream, client, server)
}

/// Runs a relay between peers that do as told, and checks that all of them ended well.
pub(crate) async fn relayed(
    client: impl FnOnce(&mut Peer) + Send + 'static,
    server: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Result<(), RelayFailure>, Counters) {
    let (mut downstream, mut upstream, mut client_end, mut server_end) = ends().await;
    let threads: [JoinHandle<()>; 2] = [
        std::thread::spawn(move || client(&mut client_end)),
        std::thread::spawn(move || server(&mut server_end)),
    ];
    let counters = Counters::default();
    let ended = relay(&mut downstream, &mut upstream, None, &counters).await;
    drop((downstream, upstream));
    for thread in threads {
        thread.join().unwrap();
    }
    (ended, counters)
}

pub(crate) fn reset(peer: &mut Peer) {
    // The peer is dropped after this.
    SockRef::from(&*peer).set_linger(Some(Duration::ZERO)).unwrap();
}

on_both_drivers! {
    fn all_bytes_arrive_both_ways_across_half_closes(driver) {
        const ALL: u64 = (BLOCK * BLOCKS) as u64;
        run(driver, async {
            // The server answers only after the client's end, and the other way round.
            let (ended, counters) = relayed(
                |client| { send_all(client); receive_all(client) },
                |server| { receive_all(server); send_all(server) },
            )
            .await;
            ended.unwrap();
            assert_eq!((counters.forward.get(), counters.backward.get()), (ALL, ALL));
            let (ended, counters) = relayed(
                |client| { receive_all(client); send_all(client) },
                |server| { send_all(server); receive_all(server) },
            )
            .await;
            ended.unwrap();
            assert_eq!((counters.forward.get(), counters.backward.get()), (ALL, ALL));
        });
    }

    fn both_directions_at_once(driver) {
        run(driver, async {
            fn talk(peer: &mut Peer) {
                let mut sending = peer.try_clone().unwrap();
                let sending = std::thread::spawn(move || send_all(&mut sending));
                receive_all(peer);
                sending.join().unwrap();
            }
            relayed(talk, talk).await.0.unwrap();
        });
    }

    fn a_reset_on_one_side_is_a_reset_on_the_other(driver) {
        run(driver, async {
            fn is_reset(peer: &mut Peer) {
                let mut sink = [0; 65536];
                loop {
                    match peer.read(&mut sink) {
                        Ok(0) => panic!("a reset was passed on as a clean end"),
                        Ok(_) => {}
                        Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                    }
                }
            }
            let (ended, _) = relayed(reset, is_reset).await;
            assert!(matches!(ended, Err(RelayFailure::A(_))), "{ended:?}");
            let (ended, _) = relayed(is_reset, reset).await;
            assert!(matches!(ended, Err(RelayFailure::B(_))), "{ended:?}");
            // With both directions of the reset side waiting, which of them learns of it is not portable.
            let (ended, _) = relayed(
                reset_when_stuck,
                |server| {
                    let written = server.write_all(&vec![1; BLOCK * BLOCKS]);
                    assert_eq!(written.unwrap_err().kind(), ErrorKind::ConnectionReset);
                },
            )
            .await;
            assert!(matches!(ended, Err(RelayFailure::A(_))), "{ended:?}");
        });
    }

    fn a_bulk_relay_leaves_others_their_turn(driver) {
        run(driver, async {
            let turns = Rc::new(Cell::new(0));
            spawn_local({
                let turns = Rc::clone(&turns);
                async move {
                    loop {
                        yield_now().await;
                        turns.set(turns.get() + 1);
                    }
                }
            });
            // Always ready: nothing but the relay itself makes it pause.
            let (mut a, mut b) = (Bulk(BLOCK * BLOCKS), Bulk(BLOCK * BLOCKS));
            relay(&mut a, &mut b, None, &Counters::default()).await.unwrap();
            assert!(turns.get() >= BLOCKS, "{} turns", turns.get());
        });
    }

    fn an_idle_relay_ends_and_resets_both(driver) {
        run(driver, async {
            let (mut downstream, mut upstream, mut client, mut server) = ends().await;
            let limit = Duration::from_millis(40);
            let started = now();
            let ended = relay(&mut downstream, &mut upstream, Some(limit), &Counters::default()).await;
            assert!(matches!(ended, Err(RelayFailure::Idle)), "{ended:?}");
            assert!(now() >= started + limit);
            for peer in [&mut client, &mut server] {
                assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
        });
    }

    fn a_relay_that_is_dropped_amid_its_bytes_resets_both(driver) {
        run(driver, async {
            let (mut downstream, mut upstream, mut client, mut server) = ends().await;
            client.write_all(b"half").unwrap();
            let counters = Counters::default();
            let mut relaying = Box::pin(relay(&mut downstream, &mut upstream, None, &counters));
            poll_fn(|cx| {
                assert!(relaying.as_mut().poll(cx).is_pending());
                if counters.forward.get() == 4 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            drop(relaying);
            drop((downstream, upstream));
            for peer in [&mut client, &mut server] {
                let mut got = Vec::new();
                assert_eq!(peer.read_to_end(&mut got).unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
        });
    }

    /// However late this machine lets timers fire: the limit counts from the last byte.
    fn a_relay_that_moves_bytes_is_not_idle(driver) {
        run(driver, async {
            let (mut downstream, mut upstream, mut client, _server) = ends().await;
            let limit = Duration::from_millis(60);
            let last = Rc::new(Cell::new(now()));
            spawn_local({
                let last = Rc::clone(&last);
                async move {
                    sleep_until(now() + limit / 2).await;
                    last.set(now());
                    client.write_all(b"x").unwrap();
                    std::future::pending().await
                }
            });
            let counters = Counters::default();
            let ended = relay(&mut downstream, &mut upstream, Some(limit), &counters).await;
            assert!(matches!(ended, Err(RelayFailure::Idle)), "{ended:?}");
            // On a machine that stalls for as long as the limit the byte came too late.
            assert!(counters.forward.get() == 0 || now() >= last.get() + limit);
        });
    }

    fn what_a_layer_holds_back_is_flushed_before_the_relay_sleeps(driver) {
        run(driver, async {
            let (ours, mut client) = duplex(64);
            let (theirs, mut server) = duplex(64);
            let relaying = async {
                let (mut a, mut b) = (Holding::over(ours), Holding::over(theirs));
                relay(&mut a, &mut b, None, &Counters::default()).await
            };
            let talking = async {
                client.write_all(b"last byte").await.unwrap();
                let mut got = [0; 9];
                // The client says nothing more, and does not end either.
                server.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"last byte");
            };
            first_of(relaying, talking).await;
        });
    }

    fn a_sink_that_takes_a_few_bytes_at_a_time_gets_them_all_in_order(driver) {
        run(driver, async {
            let sent: Vec<u8> = block()[..10_000].to_vec();
            let (mut client, mut ours) = duplex(1 << 20);
            let (mut theirs, mut server) = duplex(1 << 20);
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            server.write_all(&sent).await.unwrap();
            server.shutdown().await.unwrap();
            let counters = Counters::default();
            let (mut a, mut b) = (Throttled::over(&mut ours), Throttled::over(&mut theirs));
            deadline(soon(), relay(&mut a, &mut b, None, &counters)).await.unwrap().unwrap();
            for end in [&mut client, &mut server] {
                let mut got = Vec::new();
                end.read_to_end(&mut got).await.unwrap();
                assert!(got == sent);
            }
            assert_eq!((counters.forward.get(), counters.backward.get()), (10_000, 10_000));
        });
    }

    fn a_prefix_comes_first_and_hides_the_socket_until_then(driver) {
        run(driver, async {
            let (ours, mut peer) = pair().await;
            peer.write_all(b" world").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut stream = sidering_net::Prefixed::new(ours, bytes::BytesMut::from(&b"hello"[..]));
            assert!(stream.as_tcp().is_none());
            let mut got = [0; 2];
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!((&got, stream.prefix()), (b"he", &b"llo"[..]));
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "llo world");
            assert!(stream.as_tcp().is_some());
        });
    }
}

/// Resets once the kernel has no room left for what comes: the relay waits to write to us, and to read from us.
pub(crate) fn reset_when_stuck(peer: &mut Peer) {
    until_stuck(peer);
    reset(peer);
}

/// Reads nothing until nothing more comes.
pub(crate) fn until_stuck(peer: &mut Peer) {
    let mut waiting = 0;
    loop {
        let mut buffer = vec![std::mem::MaybeUninit::uninit(); 8 << 20];
        let held = SockRef::from(&*peer).recv_with_flags(&mut buffer, libc::MSG_PEEK).unwrap();
        if held == waiting && held > 0 {
            return;
        }
        waiting = held;
        std::thread::yield_now();
    }
}

async fn first_of<T>(one: impl Future<Output = T>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    poll_fn(|cx| {
        assert!(one.as_mut().poll(cx).is_pending(), "the relay ended");
        other.as_mut().poll(cx)
    })
    .await;
}

/// Has so many bytes to give, and takes any number.
struct Bulk(usize);

impl AsyncRead for Bulk {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let given = buf.remaining().min(self.0);
        self.0 -= given;
        buf.put_slice(&vec![0; given]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bulk {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Bulk {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// Holds what is written until it is flushed, as TLS may.
struct Holding<S> {
    io: S,
    held: Vec<u8>,
}

impl<S> Holding<S> {
    fn over(io: S) -> Self {
        Self { io, held: Vec::new() }
    }
}

impl<S: Stream> AsyncRead for Holding<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for Holding<S> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        while !me.held.is_empty() {
            let sent = std::task::ready!(Pin::new(&mut me.io).poll_write(cx, &me.held))?;
            me.held.drain(..sent);
        }
        Pin::new(&mut me.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Holding<S> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// Takes 1, 2, .. 13 bytes at a time and is not ready every third time.
struct Throttled<S> {
    io: S,
    calls: usize,
}

impl<S> Throttled<S> {
    fn over(io: S) -> Self {
        Self { io, calls: 0 }
    }

    fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            sidering_net::later(cx.waker());
            return false;
        }
        true
    }
}

impl<S: Stream> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_ready(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for Throttled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_ready(cx) {
            return Poll::Pending;
        }
        let some = bytes.len().min(1 + self.calls % 13);
        Pin::new(&mut self.io).poll_write(cx, &bytes[..some])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_ready(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Throttled<S> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}
