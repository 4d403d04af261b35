//! From SIGTERM to the end: what runs finishes, what is idle closes, exit code 0.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sidering_tests::{Answer, Bootstrap, Connection, HOST, Origin, Pair, Run, Sidecar, on_both_drivers};

on_both_drivers!(
    sigterm_drains_and_exits_0,
    a_second_sigterm_ends_at_once,
    a_port_that_another_sidecar_holds_is_in_use,
);

/// An application that answers when told, and says when it was asked.
fn told_origin() -> (Origin, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (asked, was_asked) = mpsc::channel();
    let (answer, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let origin = Origin::start(move |seen| {
        if seen.target == "/slow" {
            asked.send(()).expect("the test waits for it");
            // A test that failed no longer tells.
            let _ = told.lock().expect("no holder panics").recv();
        }
        Answer::ok("done")
    });
    (origin, was_asked, answer)
}

fn sigterm_drains_and_exits_0(run: Run) {
    let (origin, was_asked, answer) = told_origin();
    let pair = Pair::with(run).origin(origin).start();
    let connect = || Connection::to(pair.server_http());
    let (mut silent, mut idle, mut busy) = (connect(), connect(), connect());
    assert_eq!(idle.get(HOST, "/").status, 200);
    busy.send(format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    was_asked.recv().expect("the request reaches the application");
    pair.server.signal_terminate();
    idle.expect_closed_without_a_byte();
    silent.expect_closed_without_a_byte();
    let rest = json!({"detail": "nothing was sent before the drain"});
    pair.server.on_record("draining", silent.record("inbound", "sniff", rest));
    answer.send(()).expect("the application waits for it");
    let reply = busy.reply_to("GET");
    assert_eq!((reply.status, reply.text()), (200, "done"));
    assert_eq!(busy.read_to_end().expect("an orderly end"), b"");
    let address = pair.server_http();
    assert_eq!(pair.server.wait_exit().code(), Some(0));
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(pair.client.terminate().code(), Some(0));
}

fn a_second_sigterm_ends_at_once(run: Run) {
    let (origin, was_asked, _answer) = told_origin();
    let pair = Pair::with(run).origin(origin).start();
    let mut busy = Connection::to(pair.server_http());
    busy.send(format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    was_asked.recv().expect("the request reaches the application");
    pair.server.signal_terminate();
    pair.server.said("drain");
    pair.server.signal_terminate();
    assert_eq!(pair.server.wait_exit().code(), Some(1));
    assert!(busy.read_to_end().unwrap_or_default().is_empty());
}

/// The workers of one process share its ports; two processes never do, although the kernel would let them.
fn a_port_that_another_sidecar_holds_is_in_use(run: Run) {
    let pair = Pair::start(run);
    let mut second = Bootstrap::new(run, pair.directory(), "second", pair.subnet.ip(2), &pair.server_files);
    second.labels = vec![("app".into(), "server".into())];
    let told = Sidecar::refused(&second);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("already in use"), "{}", told.stderr);
    assert_eq!(pair.get("/").status, 200);
}
