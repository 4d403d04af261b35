//! What a change takes back from connections that live: not one request, tunnel or handshake goes on by what held
//! before it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use sidering_tests::{
    Connection, HOST, Pair, Pki, Run, TcpOrigin, carry, on_both_drivers, on_every_backend,
    peer_authentication,
};

on_both_drivers!(
    a_request_half_sent_before_strict_is_refused,
    a_request_half_sent_before_a_denial_is_denied,
    a_request_behind_the_current_one_is_refused,
    a_tunnel_is_not_granted_any_more,
    a_tunnel_carries_bytes_both_ways,
    a_removed_root_ends_a_tunnel,
);
on_every_backend!(a_handshake_begun_with_a_removed_root_is_made_again);

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn strict(pair: &Pair) {
    pair.reload(|mesh| mesh.write("strict.yaml", &peer_authentication("default", "STRICT")));
}

/// A plaintext connection that has had one answer and has begun another request, the sidecar's input at once.
fn half_sent(pair: &Pair) -> Connection {
    let mut plaintext = Connection::to(pair.server_http());
    plaintext.send("GET /first HTTP/1.1\r\nHost: server\r\n\r\nGET /second HTTP/1.1\r\n");
    assert_eq!(plaintext.reply_to("GET").status, 200);
    plaintext
}

fn a_request_half_sent_before_strict_is_refused(run: Run) {
    let pair = Pair::start(run);
    let mut plaintext = half_sent(&pair);
    strict(&pair);
    plaintext.send("Host: server\r\n\r\n").expect_closed_without_a_byte();
    let record = pair.server.refusal("plaintext-to-strict");
    assert_eq!(record["request"]["path"], "/second", "{record:#}");
    assert_eq!(pair.origin.last().target, "/first");
}

fn a_request_half_sent_before_a_denial_is_denied(run: Run) {
    let pair = Pair::start(run);
    let mut plaintext = half_sent(&pair);
    let deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                metadata: {name: none, namespace: default}\nspec: {action: DENY, rules: [{}]}\n";
    pair.reload(|mesh| mesh.write("deny.yaml", deny));
    plaintext.send("Host: server\r\n\r\n");
    assert_eq!(plaintext.reply_to("GET").status, 403);
    assert_eq!(pair.origin.last().target, "/first");
}

fn a_request_behind_the_current_one_is_refused(run: Run) {
    let held = Held::new(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let pair = Pair::start(run);
    held.put_behind(&pair);
    let mut plaintext = Connection::to(pair.server_http());
    plaintext.send("GET /first HTTP/1.1\r\nHost: server\r\n\r\nGET /second HTTP/1.1\r\nHost: server\r\n\r\n");
    held.wait_asked();
    strict(&pair);
    held.answer();
    assert_eq!(plaintext.reply_to("GET").text(), "ok", "it was decided before");
    plaintext.expect_closed_without_a_byte();
    assert_eq!(held.origin.accepted(), 1);
}

fn a_tunnel_is_not_granted_any_more(run: Run) {
    let held = Held::new(SWITCHING);
    let pair = Pair::start(run);
    held.put_behind(&pair);
    let mut plaintext = Connection::to(pair.server_http());
    plaintext.send(format!("GET /chat HTTP/1.1\r\nHost: server\r\n{WEBSOCKET}"));
    held.wait_asked();
    strict(&pair);
    held.answer();
    plaintext.expect_closed_without_a_byte();
    let record = pair.server.refusal("plaintext-to-strict");
    assert_eq!(record["request"]["path"], "/chat", "{record:#}");
}

/// A tunnel through both sidecars.
fn tunnel(pair: &Pair, held: &Held) -> Connection {
    held.put_behind(pair);
    held.answer();
    let mut application = pair.http();
    application.send(format!("GET /chat HTTP/1.1\r\nHost: {HOST}\r\n{WEBSOCKET}"));
    held.wait_asked();
    assert_eq!(application.head().0, 101);
    application
}

fn a_tunnel_carries_bytes_both_ways(run: Run) {
    let (pair, held) = (Pair::start(run), Held::new(SWITCHING));
    let mut application = tunnel(&pair, &held);
    application.send(b"\x81\x02hi").finish();
    assert_eq!(application.read_to_end().expect("an orderly end"), b"\x81\x02hi");
}

fn a_removed_root_ends_a_tunnel(run: Run) {
    let (pair, held) = (Pair::start(run), Held::new(SWITCHING));
    two_roots(&pair);
    let mut application = tunnel(&pair, &held);
    one_root(&pair);
    application.expect_closed_without_a_byte();
    let record = pair.client.refusal("peer-no-longer-trusted");
    assert_eq!(record["direction"], "outbound", "{record:#}");
}

fn a_handshake_begun_with_a_removed_root_is_made_again(run: Run) {
    let pair = Pair::start(run);
    two_roots(&pair);
    // Stands before the server, and holds the first hello that comes.
    let (hello, held) = channel();
    let (release, released) = channel::<()>();
    let (hello, released) = (Mutex::new(hello), Mutex::new(released));
    let server = pair.server_tcp();
    let holder = TcpOrigin::bind(pair.subnet.address(7, 19090), move |stream| {
        stream.peek(&mut [0])?;
        send(&hello);
        wait(&released);
        carry(stream, TcpStream::connect(server)?)
    });
    let service = fs::read_to_string(pair.mesh.path("service.yaml")).expect("the pair wrote it");
    let own = format!("address: {}", pair.subnet.ip(2));
    let moved = service.replace(&own, &format!("address: {}", pair.subnet.ip(7)));
    pair.reload(|mesh| mesh.write("service.yaml", &moved));

    let mut application = pair.tcp();
    application.send("ping").finish();
    held.recv().expect("a hello comes");
    one_root(&pair);
    // For whichever comes from now on, too.
    drop(release);
    assert_eq!(application.read_to_end().expect("an orderly end"), b"ping");
    assert_eq!(holder.accepted(), 2);
}

/// The client's bundle gets another root.
fn two_roots(pair: &Pair) {
    let other = Pki::new(pair.directory(), "other");
    let root = |pki: &Pki| fs::read_to_string(pki.bundle()).expect("the authority wrote it");
    trust(pair, &(root(&pair.pki) + &root(&other)));
}

/// And loses it again.
fn one_root(pair: &Pair) {
    trust(pair, &fs::read_to_string(pair.pki.bundle()).expect("the authority wrote it"));
}

/// Returns once the client has that bundle in force.
fn trust(pair: &Pair, bundle: &str) {
    let version = |status: &serde_json::Value| status["certificate"]["version"].as_u64();
    let before = version(&pair.client.status());
    fs::write(&pair.client_files.bundle, bundle).expect("the bundle can be written");
    pair.client.wait_status("the other bundle", |status| version(status) > before);
}

/// An application that answers its first request when told, and then sends back what it gets.
struct Held {
    origin: TcpOrigin,
    asked: Receiver<()>,
    answer: Sender<()>,
}

impl Held {
    fn new(response: &'static [u8]) -> Self {
        let (told, asked) = channel();
        let (answer, go) = channel();
        let (told, go) = (Arc::new(Mutex::new(told)), Arc::new(Mutex::new(go)));
        let origin = TcpOrigin::start(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line)?;
            }
            send(&told);
            wait(&go);
            stream.write_all(response)?;
            io::copy(&mut reader, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        });
        Self { origin, asked, answer }
    }

    fn put_behind(&self, pair: &Pair) {
        pair.put_behind(self.origin.address());
    }

    fn wait_asked(&self) {
        self.asked.recv_timeout(sidering_tests::PATIENCE).expect("the request arrives");
    }

    fn answer(&self) {
        self.answer.send(()).expect("the application lives");
    }
}

fn send(to: &Mutex<Sender<()>>) {
    // A test that does not wait for it has gone on.
    let _ = to.lock().unwrap_or_else(PoisonError::into_inner).send(());
}

fn wait(from: &Mutex<Receiver<()>>) {
    // A test that has ended holds nothing back.
    let _ = from.lock().unwrap_or_else(PoisonError::into_inner).recv();
}
