//! HTTP/1.1 through both sidecars: what goes in comes out, whatever its framing.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sidering_tests::{
    Answer, Connection, HOST, Origin, Pair, Run, TcpOrigin, curl, on_both_drivers, on_every_backend, s_client,
};

on_every_backend!(a_request_reaches_the_application_with_the_callers_identity, curl_gets_through);

on_both_drivers!(
    a_body_of_known_length_arrives_whole,
    chunked_bodies_arrive_whole_in_both_directions,
    one_upstream_connection_carries_many_requests,
    big_bodies_pass_both_ways,
    a_head_reply_has_no_body,
    a_head_may_be_split_anywhere,
    pipelined_requests_are_answered_in_order,
    hop_by_hop_headers_stay_on_their_hop,
    no_sender_takes_away_what_the_application_is_told_of_it,
    duplicate_headers_keep_their_order_and_case,
    a_body_that_ends_with_the_connection_arrives_whole,
    expect_continue_is_passed_on,
    expect_continue_arrives_before_the_body_is_sent,
    an_upload_that_nobody_reads_holds_up_nobody_else,
    a_malformed_request_is_answered_400_and_goes_no_further,
    connection_close_is_honoured,
);

fn a_request_reaches_the_application_with_the_callers_identity(run: Run) {
    let pair = Pair::start(run);
    let reply = pair.get("/hello?a=b");
    assert_eq!((reply.status, reply.text()), (200, "this is server\n"));
    let seen = pair.origin.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/hello?a=b"));
    assert_eq!(seen.header("host"), Some(HOST));
    let peer = seen.header("x-forwarded-client-cert").expect("mTLS tells who called");
    assert!(peer.contains("URI=spiffe://cluster.local/ns/default/sa/client"), "{peer}");
}

fn curl_gets_through(run: Run) {
    let pair = Pair::start(run);
    let url = format!("http://{}/", pair.subnet.address(1, 8080));
    let host = format!("Host: {HOST}");
    let told = curl(&[&url, "--header", &host, "--data", "from curl", "--write-out", "%{http_code}"]);
    assert_eq!(told.ok(), "from curl200");
}

fn a_body_of_known_length_arrives_whole(run: Run) {
    let pair = Pair::start(run);
    let reply = pair.http().request("POST", HOST, "/", &[("Content-Type", "text/plain")], b"eleven bytes");
    assert_eq!(reply.text(), "eleven bytes");
    assert_eq!(pair.origin.last().header("content-length"), Some("12"));
}

fn chunked_bodies_arrive_whole_in_both_directions(run: Run) {
    let pair = Pair::with(run).origin(Origin::start(|seen| Answer::ok(seen.body.clone()).chunked())).start();
    let mut connection = pair.http();
    for _ in 0..3 {
        connection.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        connection.send("5\r\nhello\r\n").send("7;ext=1\r\n, world\r\n").send("0\r\n\r\n");
        assert_eq!(connection.reply_to("POST").text(), "hello, world");
    }
}

fn one_upstream_connection_carries_many_requests(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    for number in 0..20 {
        assert_eq!(connection.get(HOST, &format!("/{number}")).status, 200);
    }
    assert_eq!(pair.origin.seen().len(), 20);
    assert_eq!(pair.origin.accepted(), 1);
}

fn big_bodies_pass_both_ways(run: Run) {
    let pair = Pair::start(run);
    let body: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut connection = pair.http();
    // Written from another thread: the echo starts only when all is there, but sockets hold less than that.
    let reply = connection.request("POST", HOST, "/", &[], &body);
    assert!(reply.body == body, "{} of {} bytes, or not the same", reply.body.len(), body.len());
}

fn a_head_reply_has_no_body(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    let reply = connection.request("HEAD", HOST, "/", &[], b"");
    assert_eq!(reply.header("content-length"), Some("15"));
    assert_eq!(connection.get(HOST, "/").text(), "this is server\n");
}

fn a_head_may_be_split_anywhere(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    for byte in format!("POST /split HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc").bytes() {
        connection.send([byte]);
    }
    assert_eq!(connection.reply_to("POST").text(), "abc");
}

fn pipelined_requests_are_answered_in_order(run: Run) {
    let pair = Pair::with(run).origin(Origin::start(|seen| Answer::ok(seen.target.clone()))).start();
    let mut connection = pair.http();
    let requests = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).collect::<String>();
    connection.send(requests);
    for n in 0..5 {
        assert_eq!(connection.reply_to("GET").text(), format!("/{n}"));
    }
}

fn hop_by_hop_headers_stay_on_their_hop(run: Run) {
    let answer =
        |_: &_| Answer::ok("x").header("Connection", "x-theirs").header("X-Theirs", "1").header("X-End", "2");
    let pair = Pair::with(run).origin(Origin::start(answer)).start();
    let reply = pair.http().request(
        "GET",
        HOST,
        "/",
        &[
            ("Connection", "x-ours, keep-alive"),
            ("X-Ours", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("X-End", "1"),
        ],
        b"",
    );
    assert_eq!((reply.header("x-theirs"), reply.header("x-end")), (None, Some("2")));
    let seen = pair.origin.last();
    for name in ["x-ours", "keep-alive", "proxy-connection"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-end"), Some("1"));
}

fn no_sender_takes_away_what_the_application_is_told_of_it(run: Run) {
    let pair = Pair::start(run);
    let names = "x-forwarded-client-cert, x-forwarded-proto, x-forwarded-for, x-request-id";
    let request = format!("GET / HTTP/1.1\r\nHost: server\r\nConnection: close, {names}\r\n\r\n");
    s_client(pair.server_http(), Some(&pair.client_files), &["-alpn", "istio"], request.as_bytes());
    let seen = pair.origin.last();
    for told in ["x-forwarded-client-cert", "x-forwarded-proto", "x-request-id"] {
        assert!(seen.header(told).is_some(), "{told}");
    }
    Connection::to(pair.server_http()).send(request).reply_to("GET");
    assert_eq!(pair.origin.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

fn duplicate_headers_keep_their_order_and_case(run: Run) {
    let pair = Pair::start(run);
    let headers = [("X-Many", "one"), ("X-Other", "between"), ("X-Many", "two")];
    assert_eq!(pair.http().request("GET", HOST, "/", &headers, b"").status, 200);
    let ours = |(name, _): &&(String, String)| name.starts_with("X-Many") || name.starts_with("X-Other");
    let seen = pair.origin.last();
    let seen: Vec<_> = seen.headers.iter().filter(ours).map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(seen, headers);
}

fn a_body_that_ends_with_the_connection_arrives_whole(run: Run) {
    let pair =
        Pair::with(run).origin(Origin::start(|_| Answer::ok("x".repeat(70_000)).until_close())).start();
    let mut connection = pair.http();
    for _ in 0..2 {
        assert_eq!(connection.get(HOST, "/").body.len(), 70_000);
        // Without a length of its own the reply may take the connection with it.
        connection = pair.http();
    }
}

fn expect_continue_arrives_before_the_body_is_sent(run: Run) {
    let pair = Pair::start(run);
    let application = TcpOrigin::start(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        reader.read_exact(&mut [0; 4])?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    pair.put_behind(application.address());
    let mut client = pair.http();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    ));
    assert_eq!(client.head().0, 100);
    assert_eq!(client.send("body").reply_to("POST").text(), "ok");
}

fn an_upload_that_nobody_reads_holds_up_nobody_else(run: Run) {
    let pair = Pair::start(run);
    let stuck = pair.http();
    let (silent, held) = channel::<()>();
    let held = Mutex::new(held);
    let application = TcpOrigin::start(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.starts_with("POST") {
            // Reads no further until the test is over.
            let _ = held.lock().map(|held| held.recv());
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    });
    pair.put_behind(application.address());
    let upload = thread::spawn(move || {
        let mut stuck = stuck;
        stuck.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000000\r\n\r\n"));
        // Until nothing more is taken.
        stuck.stream().set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout can be set");
        while stuck.stream().write(&[b'x'; 65536]).is_ok() {}
        stuck
    });
    let stuck = upload.join().expect("writing ends");
    for _ in 0..3 {
        assert_eq!(pair.get("/").text(), "ok");
    }
    drop((stuck, silent));
}

fn expect_continue_is_passed_on(run: Run) {
    let pair = Pair::start(run);
    let url = format!("http://{}/", pair.subnet.address(1, 8080));
    let (host, body) = (format!("Host: {HOST}"), "y".repeat(100_000));
    let told = curl(&[&url, "-H", &host, "-H", "Expect: 100-continue", "--data", &body]);
    assert_eq!(told.ok(), body);
}

fn a_malformed_request_is_answered_400_and_goes_no_further(run: Run) {
    let pair = Pair::start(run);
    for bad in [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: +5\r\n\r\nhello",
        "X: folded\r\n over\r\n\r\n",
        "X Y: 1\r\n\r\n",
    ] {
        let mut connection = pair.http();
        connection.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{bad}"));
        assert_eq!(connection.reply_to("POST").status, 400, "{bad:?}");
        assert_eq!(connection.read_to_end().unwrap_or_default(), b"", "{bad:?}");
    }
    assert_eq!(pair.origin.seen(), []);
}

fn connection_close_is_honoured(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    let reply = connection.request("GET", HOST, "/", &[("Connection", "close")], b"");
    assert_eq!(reply.status, 200);
    assert_eq!(connection.read_to_end().expect("an orderly end"), b"");
}
