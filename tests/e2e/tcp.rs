//! Opaque TCP through both sidecars: every byte, each direction's end on its own.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::time::Duration;

use sidering_tests::{PATIENCE, Pair, Run, TcpOrigin, on_both_drivers, on_every_backend};
use socket2::SockRef;

on_every_backend!(the_client_may_end_first, the_server_may_end_first);

on_both_drivers!(the_server_may_speak_first, megabytes_pass_both_ways_at_once, a_reset_is_passed_on);

fn the_client_may_end_first(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.tcp();
    connection.send("all there is").finish();
    assert_eq!(connection.read_to_end().expect("an orderly end"), b"all there is");
}

fn the_server_may_end_first(run: Run) {
    let (tell, heard) = mpsc::channel();
    let origin = TcpOrigin::start(move |mut stream| {
        stream.write_all(b"bye")?;
        stream.shutdown(Shutdown::Write)?;
        let mut rest = String::new();
        stream.read_to_string(&mut rest)?;
        tell.send(rest).map_err(io::Error::other)
    });
    let pair = Pair::with(run).tcp_origin(origin).start();
    let mut connection = pair.tcp();
    assert_eq!(connection.read_to_end().expect("an orderly end"), b"bye");
    connection.send("still here").finish();
    assert_eq!(heard.recv_timeout(PATIENCE).expect("the server sees the client's end"), "still here");
}

fn the_server_may_speak_first(run: Run) {
    let origin = TcpOrigin::start(|mut stream| {
        stream.write_all(b"220 hello\r\n")?;
        let mut line = [0; 6];
        stream.read_exact(&mut line)?;
        stream.write_all(&line)
    });
    let pair = Pair::with(run).tcp_origin(origin).start();
    let mut connection = pair.tcp();
    let mut greeting = [0; 11];
    connection.stream().read_exact(&mut greeting).expect("the server speaks first");
    assert_eq!(&greeting, b"220 hello\r\n");
    assert_eq!(connection.send("QUIT\r\n").read_to_end().expect("an orderly end"), b"QUIT\r\n");
}

fn megabytes_pass_both_ways_at_once(run: Run) {
    let pair = Pair::start(run);
    let sent: Vec<u8> = (0..16_000_000_u32).map(|n| (n % 253) as u8).collect();
    let mut connection = pair.tcp();
    let mut writer = connection.stream().try_clone().expect("a socket can be cloned");
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).expect("the sidecar takes bytes");
        writer.shutdown(Shutdown::Write).expect("an open connection can be half-closed");
    });
    let received = connection.read_to_end().expect("an orderly end");
    writing.join().expect("the writer does not panic");
    assert!(received == sent, "{} of {} bytes, or not the same", received.len(), sent.len());
}

fn a_reset_is_passed_on(run: Run) {
    let origin = TcpOrigin::start(|mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    let pair = Pair::with(run).tcp_origin(origin).start();
    let mut connection = pair.tcp();
    let end = connection.send("x").read_to_end();
    assert_eq!(end.expect_err("no orderly end").kind(), io::ErrorKind::ConnectionReset);
}
