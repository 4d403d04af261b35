//! Ours and real Envoy as each other's peer in the mesh. Our two sidecars agree with each other by construction; here
//! is whether they agree with everybody else's.

mod certificates;
mod client;
mod server;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use sidering_tests::{Answer, Connection, HOST, Origin, PATIENCE, Pair, TcpOrigin};

/// An application that answers `c` when the client has ended, and that answers `s`, ends, and then hears the client out.
fn half_closing() -> (TcpOrigin, Receiver<String>) {
    let (sender, heard) = channel();
    let origin = TcpOrigin::start(move |mut stream| {
        let (mut who, mut rest) = ([0], String::new());
        stream.read_exact(&mut who)?;
        if who == *b"s" {
            stream.write_all(b"bye")?;
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_string(&mut rest)?;
            return sender.send(rest).map_err(io::Error::other);
        }
        stream.read_to_string(&mut rest)?;
        stream.write_all(rest.as_bytes())?;
        stream.shutdown(Shutdown::Write)
    });
    (origin, heard)
}

/// Either side of [`half_closing`] may end first.
#[track_caller]
fn ends_are_passed_on<C, S>(pair: &Pair<C, S>, heard: &Receiver<String>) {
    let mut client_first = pair.tcp();
    client_first.send("c").send("question").finish();
    assert_eq!(client_first.read_to_end().expect("an orderly end"), b"question");
    let mut server_first = pair.tcp();
    assert_eq!(server_first.send("s").read_to_end().expect("an orderly end"), b"bye");
    server_first.send("still here").finish();
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("still here"));
}

/// Many requests on one connection of the application, one with a body that takes many records.
#[track_caller]
fn a_hundred_requests<C, S>(pair: &Pair<C, S>) {
    let mut connection = pair.http();
    for _ in 0..99 {
        assert_eq!(connection.get(HOST, "/").text(), "this is server\n");
    }
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    assert!(connection.request("POST", HOST, "/", &[], &body).body == body);
}

/// Answers in the shape that the path names, with the request's body.
fn shapes() -> Origin {
    Origin::start(|seen| match seen.target.as_str() {
        "/chunked" => Answer::ok(seen.body.clone()).chunked(),
        "/until-close" => Answer::ok(seen.body.clone()).until_close(),
        "/nothing" => Answer::ok("").status(204),
        _ => Answer::ok(seen.body.clone()),
    })
}

/// Each way to frame a request meets each way to frame its answer from [`shapes`], all on one connection.
#[track_caller]
fn every_shape_arrives<C, S>(pair: &Pair<C, S>) {
    let mut connection = pair.http();
    for path in ["/length", "/chunked", "/until-close"] {
        let body = "0123456789".repeat(500);
        assert_eq!(connection.request("POST", HOST, path, &[], body.as_bytes()).text(), body, "{path}");
        connection
            .send(format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        connection.send("5\r\nhello\r\n").send("7;ext=1\r\n, world\r\n").send("0\r\n\r\n");
        assert_eq!(connection.reply_to("POST").text(), "hello, world", "{path}");
        assert_eq!(connection.request("HEAD", HOST, path, &[], b"").body, b"", "{path}");
    }
    assert_eq!(connection.get(HOST, "/nothing").status, 204);
}

/// Bytes come back on a new connection for TCP, and each side hears the other's end.
#[track_caller]
fn echo<C, S>(pair: &Pair<C, S>) {
    echo_at(pair.subnet.address(1, 9090));
}

/// The same at another port of the client's sidecar.
#[track_caller]
fn echo_at(address: SocketAddr) {
    // Envoy waits for five bytes before it knows that they are no TLS.
    let (mut connection, mut bytes) = (Connection::to(address), [0; 5]);
    connection.send("hello").stream().read_exact(&mut bytes).expect("the application answers");
    assert_eq!((&bytes, connection.finish().read_to_end().expect("an orderly end")), (b"hello", vec![]));
}

/// Requests go on while `rotate` runs, on a kept connection for HTTP and a new one each for TCP.
fn no_request_fails_while<C: Sync, S: Sync>(pair: &Pair<C, S>, rotate: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut kept, mut rounds) = (pair.http(), 0);
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(kept.get(HOST, "/").status, 200);
                echo(pair);
                rounds += 1;
            }
            rounds
        });
        let stop = Stop(&stop);
        rotate();
        drop(stop);
        assert!(load.join().expect("no request fails") > 0);
    });
}

/// Stops the requests, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
