//! Listeners: shared by our own workers and by nobody else, never deaf, never spinning.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as Peer};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sidering_net::{
    BoundListener, Failure, ListenAddress, Pin, SocketId, TcpListener, TcpStream, deadline, mailbox, now,
    run_workers, spawn_local, yield_now,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{ThreadClock, listener, on_both_drivers, on_both_drivers_alone, run, soon};

fn any_port() -> ListenAddress {
    ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())
}

fn tcp(bound: &BoundListener) -> SocketAddr {
    match bound.local_address() {
        ListenAddress::Tcp(address) => address,
        ListenAddress::Unix(path) => panic!("{path:?} is not TCP"),
    }
}

fn is_taken(bound: Result<BoundListener, Failure>) -> bool {
    matches!(bound, Err(Failure::AddressInUse { .. }))
}

#[test]
fn a_port_that_anyone_else_holds_is_refused_though_it_could_be_shared() {
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.set_reuse_port(true).unwrap();
    other.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    other.listen(1).unwrap();
    let address = ListenAddress::Tcp(other.local_addr().unwrap().as_socket().unwrap());
    assert!(is_taken(BoundListener::bind(&address)));
    drop(other);
    let ours = BoundListener::bind(&address).unwrap();
    assert!(is_taken(BoundListener::bind(&address)), "nor twice by ourselves");
    let wildcard = ListenAddress::Tcp((Ipv4Addr::UNSPECIFIED, tcp(&ours).port()).into());
    assert!(is_taken(BoundListener::bind(&wildcard)));
    let shared = ours.share().unwrap();
    assert_eq!(shared.local_address(), address);
    drop(ours);
    assert!(is_taken(BoundListener::bind(&address)), "the other worker still listens");
}

fn ids(bound: &[&BoundListener]) -> HashSet<SocketId> {
    bound.iter().map(|bound| bound.id().unwrap()).collect()
}

#[test]
fn an_overlapping_address_of_our_own_is_no_hindrance_and_a_strangers_is() {
    let at = |ip: [u8; 4], port| ListenAddress::Tcp((ip, port).into());
    let wide = BoundListener::bind(&at([0, 0, 0, 0], 0)).unwrap();
    let ours = ids(&[&wide, &wide.share().unwrap()]);
    let port = tcp(&wide).port();
    let narrow = BoundListener::bind_beside(&at([127, 0, 0, 1], port), &ours).unwrap();
    assert!(is_taken(BoundListener::bind_beside(&at([127, 0, 0, 2], port), &HashSet::new())), "not ours");
    drop(wide);
    let shared = narrow.share().unwrap();
    let ours = ids(&[&narrow, &shared]);
    drop(BoundListener::bind_beside(&at([0, 0, 0, 0], port), &ours).unwrap());
    drop(BoundListener::bind_beside(&narrow.local_address(), &ours).unwrap());

    // It came later, and shares its port with whoever asks the kernel to.
    let stranger = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    stranger.set_reuse_port(true).unwrap();
    stranger.bind(&SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
    stranger.listen(1).unwrap();
    assert!(is_taken(BoundListener::bind_beside(&at([0, 0, 0, 0], port), &ours)));
    drop(BoundListener::bind_beside(&narrow.local_address(), &ours).unwrap());
}

#[test]
fn an_address_of_another_machine_is_told_as_such() {
    let elsewhere = ListenAddress::Tcp("203.0.113.1:1".parse().unwrap());
    assert!(matches!(BoundListener::bind(&elsewhere), Err(Failure::AddressNotLocal { .. })));
}

#[test]
fn a_dead_unix_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let address = ListenAddress::Unix(path.clone());
    let other = UnixListener::bind(&path).unwrap();
    assert!(is_taken(BoundListener::bind(&address)));
    drop(other);
    let ours = BoundListener::bind(&address).unwrap();
    let shared = ours.share().unwrap();
    drop(ours);
    assert!(UnixStream::connect(&path).is_ok());
    drop(shared);
    assert!(!path.exists(), "removed with the last");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(BoundListener::bind(&address), Err(Failure::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_unix_socket_that_another_has_replaced_is_left_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let ours = BoundListener::bind(&ListenAddress::Unix(path.clone())).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
}

async fn echo_once(listener: &mut TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut got = [0; 4];
    stream.read_exact(&mut got).await.unwrap();
    stream.write_all(&got).await.unwrap();
}

async fn over_unix(path: &Path) {
    let bound = BoundListener::bind(&ListenAddress::Unix(path.to_owned())).unwrap();
    let mut listener = TcpListener::adopt(bound).unwrap();
    spawn_local(async move { echo_once(&mut listener).await });
    let mut client = TcpStream::connect_unix(path, soon()).await.unwrap();
    assert_eq!(client.peer_address(), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    client.write_all(b"ping").await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"ping");
}

on_both_drivers! {
    fn unix_sockets_carry_bytes_and_ends_like_tcp(driver) {
        let directory = tempfile::tempdir().unwrap();
        run(driver, over_unix(&directory.path().join("socket")));
    }

    fn addresses_are_those_of_the_connection(driver) {
        run(driver, async {
            let (mut listener, address) = listener();
            let peer = Peer::connect(address).unwrap();
            let (ours, from) = listener.accept().await.unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
            assert_eq!(ours.peer_address(), from);
            assert_eq!(ours.local_address(), address);
            let delayed = socket2::SockRef::from(&peer).tcp_nodelay().unwrap();
            assert!(!delayed, "the peer's own business");
        });
    }

    /// The kernel spreads connections over the sockets that share a port: all of them must be served.
    fn workers_share_a_port(driver) {
        const CONNECTIONS: usize = 64;
        let first = BoundListener::bind(&any_port()).unwrap();
        let address = tcp(&first);
        let bound = std::sync::Mutex::new(vec![first.share().unwrap(), first]);
        let served = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let (mut stops, stopped): (Vec<_>, Vec<_>) = (0..2).map(|_| mailbox::<()>()).unzip();
        let stopped = std::sync::Mutex::new(stopped);
        let workers = run_workers(driver, 2, &Pin::Auto, {
            let served = Arc::clone(&served);
            move |worker| {
                let bound = bound.lock().unwrap().pop().unwrap();
                let mut stopped = stopped.lock().unwrap().pop().unwrap();
                let served = Arc::clone(&served);
                async move {
                    let mut listener = TcpListener::adopt(bound).unwrap();
                    spawn_local(async move {
                        loop {
                            echo_once(&mut listener).await;
                            served[worker.0].fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    assert_eq!(stopped.recv().await, None);
                }
            }
        })
        .unwrap();
        for _ in 0..CONNECTIONS {
            let mut peer = Peer::connect(address).unwrap();
            std::io::Write::write_all(&mut peer, b"ping").unwrap();
            let mut got = Vec::new();
            std::io::Read::read_to_end(&mut peer, &mut got).unwrap();
            assert_eq!(got, b"ping");
        }
        stops.clear();
        workers.join().unwrap();
        let served = [0, 1].map(|worker: usize| served[worker].load(Ordering::Relaxed));
        assert!(served[0] + served[1] >= CONNECTIONS - 2 && served.iter().all(|&count| count > 0), "{served:?}");
    }

    fn what_is_queued_is_taken_without_waiting(driver) {
        run(driver, async {
            let (mut listener, address) = listener();
            let peers: Vec<Peer> = (0..200).map(|_| Peer::connect(address).unwrap()).collect();
            assert_eq!(listener.queued().count(), peers.len());
        });
    }

    fn a_burst_of_connections_is_served_whole_and_leaves_others_their_turn(driver) {
        run(driver, async {
            let (mut listener, address) = listener();
            let peers: Vec<Peer> = (0..300).map(|_| Peer::connect(address).unwrap()).collect();
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
            for _ in &peers {
                listener.accept().await.unwrap();
            }
            assert!(turns.get() >= 4, "{} turns while 300 connections were accepted", turns.get());
        });
    }
}

on_both_drivers_alone! {
    fn running_out_of_descriptors_neither_spins_nor_deafens(driver, 64 descriptors) {
        run(driver, async {
            let (mut listener, address) = listener();
            let mut clock = ThreadClock::new();
            let peers: Vec<Peer> = (0..8).map(|_| Peer::connect(address).unwrap()).collect();
            let fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            let before = clock.elapsed();
            let nothing = deadline(now() + Duration::from_millis(500), listener.accept()).await;
            assert!(nothing.is_err(), "there was a descriptor left");
            let spent = clock.elapsed() - before;
            let tries = listener.exhausted();
            assert!((1..=11).contains(&tries), "{tries} tries in 500 ms");
            assert!(spent < Duration::from_millis(100), "{spent:?} of CPU time");
            drop(fillers);
            // No new connection comes to wake it up.
            for _ in &peers {
                deadline(soon(), listener.accept()).await.unwrap().unwrap();
            }
        });
    }
}
