//! Connecting never blocks the core, and tells apart why it failed.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use sidering_net::{Driver, Failure, TcpStream, now, spawn_local, yield_now};
use socket2::{Domain, Socket, Type};

use crate::support::{descriptors, on_both_drivers, on_both_drivers_alone, run, settle, soon};

/// A listener that drops every further SYN: its backlog is full and nobody accepts.
fn deaf() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
        let connected = socket.connect(&address.into()).is_ok();
        waiting.push(socket);
        if !connected {
            return (listener, waiting, address);
        }
    }
}

on_both_drivers! {
    fn a_connect_that_nobody_answers_ends_at_its_deadline_and_blocks_nobody(driver) {
        run(driver, async {
            let (_listener, _waiting, address) = deaf();
            let turns = Rc::new(Cell::new(0));
            spawn_local({
                let turns = Rc::clone(&turns);
                async move {
                    loop {
                        turns.set(turns.get() + 1);
                        yield_now().await;
                    }
                }
            });
            let at = now() + Duration::from_millis(100);
            let failure = TcpStream::connect(address, at).await.unwrap_err();
            assert!(matches!(failure, Failure::TimedOut), "{failure:?}");
            assert!(now() >= at);
            assert!(turns.get() > 10, "{} turns", turns.get());
        });
    }

    fn refusals_are_told_as_such(driver) {
        run(driver, async {
            let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            let failure = TcpStream::connect(free, soon()).await.unwrap_err();
            assert!(matches!(failure, Failure::Refused), "{failure:?}");
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("socket");
            let failure = TcpStream::connect_unix(&path, soon()).await.unwrap_err();
            assert!(matches!(failure, Failure::Refused), "no file: {failure:?}");
            drop(UnixListener::bind(&path).unwrap());
            let failure = TcpStream::connect_unix(&path, soon()).await.unwrap_err();
            assert!(matches!(failure, Failure::Refused), "nobody listens: {failure:?}");
        });
    }

    /// The kernel goes through the even ports of its range, also for a client that dials one of them.
    fn nobody_is_connected_to_itself(driver) {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let mut range = range.split_whitespace().map(|port| port.parse::<u16>().unwrap());
        let (first, last) = (range.next().unwrap(), range.next().unwrap());
        // Listeners get the odd ones, so that no other test comes to listen here.
        let port = first.next_multiple_of(2) + if driver == Driver::Epoll { 2000 } else { 4000 };
        run(driver, async {
            for _ in 0..2 * u32::from(last - first) {
                let outcome = TcpStream::connect((Ipv4Addr::LOCALHOST, port).into(), soon()).await;
                assert!(matches!(outcome, Err(Failure::Refused)), "{outcome:?}");
            }
        });
    }

    fn a_full_unix_backlog_is_waited_for_until_the_deadline(driver) {
        run(driver, async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("socket");
            let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
            listener.listen(0).unwrap();
            let first = TcpStream::connect_unix(&path, soon()).await.unwrap();
            let at = now() + Duration::from_millis(50);
            let failure = TcpStream::connect_unix(&path, at).await.unwrap_err();
            assert!(matches!(failure, Failure::TimedOut), "{failure:?}");
            let accepting = std::thread::spawn(move || {
                let accepted = (listener.accept().unwrap(), listener.accept().unwrap());
                drop(accepted);
            });
            TcpStream::connect_unix(&path, soon()).await.unwrap();
            accepting.join().unwrap();
            drop(first);
        });
    }
}

on_both_drivers_alone! {
    fn a_connect_given_up_leaves_no_descriptor(driver, 256 descriptors) {
        run(driver, async {
            let (_listener, _waiting, address) = deaf();
            let before = descriptors();
            for _ in 0..20 {
                TcpStream::connect(address, now() + Duration::from_millis(2)).await.unwrap_err();
            }
            settle(before).await;
        });
    }
}
