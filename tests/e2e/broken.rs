//! Exchanges that break off halfway: nobody takes what came for the whole, and both sidecars say what happened.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use sidering_tests::{
    Connection, HOST, PATIENCE, Pair, Run, TcpOrigin, asked, on_every_backend, origin, record,
};
use socket2::SockRef;

on_every_backend!(
    a_client_that_leaves_while_it_waits,
    an_upstream_that_resets_in_a_body_of_known_length,
    an_upstream_that_resets_between_two_chunks,
    an_upstream_that_resets_in_a_body_that_its_end_would_end,
);

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";

fn a_client_that_leaves_while_it_waits(run: Run) {
    let (tell, heard) = mpsc::channel();
    let silent = TcpOrigin::start(move |mut stream| {
        read_head(&mut stream)?;
        tell.send("asked").map_err(io::Error::other)?;
        // Whatever its end is like.
        let _ = stream.read_to_end(&mut Vec::new());
        tell.send("alone").map_err(io::Error::other)
    });
    let pair = Pair::start(run);
    pair.put_behind(silent.address());
    let mut connection = pair.http();
    connection.send(format!("GET /waits HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok("asked"));
    let expected = at_client(&pair, &connection, "/waits", json!({"detail": "downstream: *"}));
    drop(connection);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok("alone"));
    pair.client.on_record("downstream-closed", expected);
    let rest = json!({"upstream": silent.address(), "detail": "downstream: *"});
    pair.server.on_record("downstream-closed", at_server(&pair, "/waits", rest));
    for sidecar in [&pair.client, &pair.server] {
        let entry = sidecar.logged("the request", |entry| entry["path"] == "/waits");
        assert_eq!(
            (&entry["response_code"], &entry["response_flags"]),
            (&json!(0), &json!("DC")),
            "{entry:#}"
        );
        assert_eq!(entry["reason"], "downstream-closed", "{entry:#}");
    }
}

fn an_upstream_that_resets_in_a_body_of_known_length(run: Run) {
    resets_after(run, "Content-Length: 100\r\n\r\n0123456789");
}

fn an_upstream_that_resets_between_two_chunks(run: Run) {
    resets_after(run, "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n");
}

fn an_upstream_that_resets_in_a_body_that_its_end_would_end(run: Run) {
    resets_after(run, "Connection: close\r\n\r\n0123456789");
}

/// The client gets what came of the body, then an end that it cannot take for the body's.
fn resets_after(run: Run, rest_of_response: &'static str) {
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let hasty = TcpOrigin::start(move |mut stream| {
        read_head(&mut stream)?;
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{rest_of_response}").as_bytes())?;
        // What it has said must not be lost with it.
        let _ = gate.lock().expect("no holder panics").recv_timeout(PATIENCE);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    let pair = Pair::start(run);
    pair.put_behind(hasty.address());
    let mut connection = pair.http();
    connection.send(format!("GET /half HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let (status, headers) = connection.head();
    assert_eq!(status, 200);
    connection.expect_next("0123456789", &headers);
    open.send(()).expect("the application waits for it");
    let ended = connection.read_to_end();
    assert_eq!(ended.map_err(|why| why.kind()), Err(io::ErrorKind::ConnectionReset));

    let rest = json!({
        "upstream": hasty.address(),
        "origin": origin("Sidecar", "default/server", "sidecars.yaml:16:5"),
        "detail": "upstream: *",
    });
    pair.server.on_record("connection-reset", at_server(&pair, "/half", rest));
    let rest = json!({
        "origin": origin("ServiceEntry", "default/server", "service.yaml:12:5"),
        "detail": "upstream: *",
    });
    pair.client.on_record("connection-reset", at_client(&pair, &connection, "/half", rest));
}

/// On record at the client: its request to the service broke off.
fn at_client(pair: &Pair, connection: &Connection, path: &str, mut rest: Value) -> Value {
    rest["request"] = asked("GET", HOST, path);
    rest["cluster"] = "outbound|8080||server.default.svc.cluster.local".into();
    rest["upstream"] = pair.server_http().to_string().into();
    connection.record("outbound", "relay", rest)
}

/// The same at the server.
fn at_server(pair: &Pair, path: &str, mut rest: Value) -> Value {
    rest["request"] = asked("GET", HOST, path);
    rest["cluster"] = "inbound|18080||".into();
    rest["presented"] = pair.client_files.presented(&[CLIENT]);
    rest["server_name"] = "outbound_.8080_._.server.default.svc.cluster.local".into();
    record("inbound", "relay", "127.0.0.1:*", pair.server_http(), rest)
}

fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(())
}
