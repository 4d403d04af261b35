//! The data path over real sockets, from hand-made Snapshots, on both drivers.
#![expect(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod mesh;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use mesh::{Application, CLIENT, Client, Mode, Running, SERVER, Speaks};
use serde_json::json;
use sidering_http::Limits;
use sidering_net::DriverChoice::{self, Epoll, IoUring};
use sidering_policy::{Authorization, BindAddress, Chains, Listener, Matcher, PathPattern, Snapshot};
use sidering_proxy::{CredentialRefusal, Phase, PublishRefusal, Reason, Security};

/// Each test on each driver.
macro_rules! on_both_drivers {
    ($($test:ident)*) => {
        mod io_uring { $(#[test] fn $test() { super::$test(super::IoUring) })* }
        mod epoll { $(#[test] fn $test() { super::$test(super::Epoll) })* }
    };
}

on_both_drivers! {
    a_request_goes_through_both_sidecars
    opaque_bytes_go_through_both_sidecars_and_half_close
    plaintext_to_strict_is_closed_without_a_byte_and_recorded
    a_denied_request_is_told_no_more_than_that
    a_server_that_is_somebody_else_is_not_talked_to
    a_dead_endpoint_is_avoided
    a_connection_that_the_application_closed_is_replaced
    what_a_kept_connection_lost_is_sent_again_only_if_that_is_safe
    upstream_connections_are_kept_until_credentials_change
    strict_leaves_no_plaintext_behind
    a_new_deny_ends_a_live_connection
    a_removed_root_ends_what_it_verified
    an_address_in_use_refuses_the_whole_snapshot
    an_address_is_widened_and_narrowed_by_a_publish
    credentials_that_do_not_fit_leave_the_old_in_force
    a_port_without_a_chain_takes_nothing
    nothing_is_done_without_credentials
    a_head_must_come_in_time
    a_connection_in_which_nothing_moves_ends
    a_drain_lets_a_request_finish
    a_drain_ends_in_time
}

/// A server's and a client's sidecar, joined.
fn pair(
    driver: DriverChoice,
    speaks: Speaks,
    rules: Authorization,
    application: &Application,
) -> [Running; 2] {
    let server = Running::start(driver);
    server.0.publish_credentials(mesh::credentials(SERVER, 1)).unwrap();
    server.publish(mesh::inbound(Mode::Strict, speaks, rules, application.address));
    let client = Running::start(driver);
    client.0.publish_credentials(mesh::credentials(CLIENT, 1)).unwrap();
    client.publish(mesh::outbound(speaks, &[server.address("inbound")], SERVER));
    [client, server]
}

fn permissive(driver: DriverChoice, speaks: Speaks, application: &Application) -> Running {
    let server = Running::start(driver);
    server.0.publish_credentials(mesh::credentials(SERVER, 1)).unwrap();
    server.publish(mesh::inbound(Mode::Permissive, speaks, Authorization::default(), application.address));
    server
}

fn a_request_goes_through_both_sidecars(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let mut connection = Client::connect(client.address("outbound"));
    connection.send(
        "GET /a/../b HTTP/1.1\r\nHost: payments\r\nX-Forwarded-Client-Cert: URI=spiffe://forged\r\n\r\n",
    );
    let (status, seen) = connection.response();

    assert_eq!(status, 200);
    assert!(seen.starts_with("GET /b HTTP/1.1\r\n"), "{seen}");
    let xfcc =
        seen.lines().find(|line| line.to_ascii_lowercase().starts_with("x-forwarded-client-cert:")).unwrap();
    assert!(
        xfcc.contains(&format!("By={SERVER};Hash=")) && xfcc.ends_with(&format!(";URI={CLIENT}")),
        "{xfcc}"
    );
    assert!(!seen.contains("forged"), "{seen}");
    assert!(seen.contains("x-request-id: ") && seen.contains("x-forwarded-proto: http"), "{seen}");

    for (sidecar, peer) in [(&server, CLIENT), (&client, SERVER)] {
        let traffic = sidecar.metrics(|metrics| !metrics.traffic.is_empty()).traffic;
        let [it] = &traffic[..] else { panic!("{traffic:#?}") };
        assert_eq!((it.labels.code, it.labels.security, it.requests), (200, Security::MutualTls, 1));
        assert_eq!(it.labels.peer.as_ref().map(|id| id.as_str()), Some(peer));
    }
    assert!(client.0.records().is_empty() && server.0.records().is_empty());
}

fn opaque_bytes_go_through_both_sidecars_and_half_close(driver: DriverChoice) {
    let application = Application::echo();
    let [client, _server] = pair(driver, Speaks::Tcp, Authorization::default(), &application);
    let mut connection = Client::connect(client.address("outbound"));
    connection.send("first");
    assert_eq!(connection.exactly(5), "first");
    connection.send("last");
    connection.half_close();
    assert_eq!(connection.rest(), "last");
}

fn plaintext_to_strict_is_closed_without_a_byte_and_recorded(driver: DriverChoice) {
    let application = Application::start(true);
    let [_client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let mut stranger = Client::connect(server.address("inbound"));
    stranger.send("GET /admin?token=1 HTTP/1.1\r\nHost: payments\r\n\r\n");
    assert_eq!(stranger.rest(), "");

    let record = server.record();
    assert_eq!((record.reason, record.phase), (Reason::PlaintextToStrict, Phase::Accept));
    let request = record.request.unwrap();
    assert_eq!((&*request.method, &*request.host, &*request.path), ("GET", "payments", "/admin"));
    let origin = record.origin.unwrap();
    assert_eq!((&*origin.label, origin.position.as_deref()), ("shop/default", Some("mesh.yaml:7:1")));
    assert_eq!(server.0.metrics().refusals[0].reason, Reason::PlaintextToStrict);
    assert_eq!(application.connections(), 0);
}

fn a_denied_request_is_told_no_more_than_that(driver: DriverChoice) {
    let application = Application::start(true);
    let rules = mesh::deny(Matcher::Path(PathPattern::parse("/admin").unwrap()));
    let [client, server] = pair(driver, Speaks::Http, rules, &application);
    let mut connection = Client::connect(client.address("outbound"));
    assert_eq!(connection.get("/admin", "payments"), (403, "RBAC: access denied".into()));
    assert_eq!(connection.get("/", "payments").0, 200, "the connection goes on");

    let record = server.record();
    assert_eq!((record.reason, record.phase), (Reason::DeniedByPolicy, Phase::Authorize));
    assert_eq!(record.origin.unwrap().label, "shop/no-entry[0]");
    assert_eq!(record.presented.unwrap().names, [CLIENT]);
    assert_eq!(record.snapshot, 1);
}

fn a_server_that_is_somebody_else_is_not_talked_to(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let other = "spiffe://cluster.local/ns/shop/sa/ledger";
    client.publish(mesh::outbound(Speaks::Http, &[server.address("inbound")], other));
    let answer = Client::connect(client.address("outbound")).get("/", "payments");
    assert_eq!(answer, (503, "sidering: secure-naming-mismatch".into()));

    let record = client.record();
    assert_eq!((record.reason, record.phase), (Reason::SecureNamingMismatch, Phase::Naming));
    assert_eq!((&*record.expected[0].name, &*record.expected[0].from), (other, "endpoint (mesh.yaml:12:3)"));
    assert_eq!(record.presented.unwrap().names, [SERVER]);
    assert_eq!(record.origin.unwrap().position.as_deref(), Some("mesh.yaml:21:1"));
    assert_eq!(application.connections(), 0);
}

fn a_dead_endpoint_is_avoided(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    client.publish(mesh::outbound(Speaks::Http, &[dead, server.address("inbound")], SERVER));
    for _ in 0..2 {
        assert_eq!(Client::connect(client.address("outbound")).get("/", "payments").0, 200);
    }
    assert_ne!(client.0.metrics().retries, 0, "round robin meets it");
    assert!(client.0.records().is_empty(), "the request got its answer");

    client.publish(mesh::outbound(Speaks::Http, &[dead], SERVER));
    let answer = Client::connect(client.address("outbound")).get("/", "payments");
    assert_eq!(answer, (503, "sidering: connect-refused".into()));
    assert_eq!(client.record().upstream, Some(dead.to_string()));
}

fn a_connection_that_the_application_closed_is_replaced(driver: DriverChoice) {
    let application = Application::start(false);
    let server = permissive(driver, Speaks::Http, &application);
    let mut connection = Client::connect(server.address("inbound"));
    for _ in 0..3 {
        assert_eq!(connection.get("/", "payments").0, 200);
    }
    assert_eq!(application.connections(), 3);
}

/// It reads a second request and closes without a word.
fn forgetful() -> Application {
    Application::with(|mut stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone()?);
        mesh::read_head(&mut reader)?;
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        mesh::read_head(&mut reader).map(drop)
    })
}

fn what_a_kept_connection_lost_is_sent_again_only_if_that_is_safe(driver: DriverChoice) {
    let application = forgetful();
    let server = permissive(driver, Speaks::Http, &application);
    let mut connection = Client::connect(server.address("inbound"));
    assert_eq!(connection.get("/", "payments").0, 200);
    assert_eq!(connection.get("/", "payments").0, 200, "nobody notices");
    assert_eq!((application.connections(), server.0.metrics().retries), (2, 1));

    connection.send("POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(connection.response(), (503, "sidering: upstream-closed".into()), "it may have been done");
    let rest = json!({
        "request": {"method": "POST", "host": "payments", "path": "/"},
        "cluster": "inbound|8080||",
        "upstream": application.address,
        "origin": {"kind": "ServiceEntry", "label": "shop/payments", "position": "mesh.yaml:12:1"},
        "detail": "upstream: closed before a response",
    });
    server.on_record("upstream-closed", connection.record("inbound", "relay", rest));
}

fn upstream_connections_are_kept_until_credentials_change(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let mut connection = Client::connect(client.address("outbound"));
    for _ in 0..3 {
        assert_eq!(connection.get("/", "payments").0, 200);
    }
    assert_eq!(client.0.metrics().upstream_connects, 1);
    client.metrics(|metrics| metrics.upstream_idle == 1);

    client.0.publish_credentials(mesh::credentials(CLIENT, 2)).unwrap();
    assert_eq!(client.0.metrics().upstream_idle, 0, "made under the old ones");
    assert_eq!(connection.get("/", "payments").0, 200, "the downstream connection lives on");
    assert_eq!(client.0.metrics().upstream_connects, 2);

    client.publish(mesh::outbound(Speaks::Http, &[server.address("inbound")], SERVER));
    assert_eq!(connection.get("/", "payments").0, 200);
    assert_eq!(client.0.metrics().upstream_connects, 2, "an equal cluster keeps its connections");
}

fn strict_leaves_no_plaintext_behind(driver: DriverChoice) {
    let application = Application::start(true);
    let server = permissive(driver, Speaks::Http, &application);
    let mut kept = Client::connect(server.address("inbound"));
    assert_eq!(kept.get("/", "payments").0, 200);

    server.publish(mesh::inbound(Mode::Strict, Speaks::Http, Authorization::default(), application.address));
    assert_eq!(kept.rest(), "", "an idle connection ends");
    assert_eq!(server.record().reason, Reason::PlaintextToStrict);
}

fn a_new_deny_ends_a_live_connection(driver: DriverChoice) {
    let application = Application::echo();
    let [client, server] = pair(driver, Speaks::Tcp, Authorization::default(), &application);
    let mut connection = Client::connect(client.address("outbound"));
    connection.send("before");
    assert_eq!(connection.exactly(6), "before");

    let rules = mesh::deny(Matcher::Namespace(sidering_policy::StringMatch::parse("shop")));
    server.publish(mesh::inbound(Mode::Strict, Speaks::Tcp, rules, application.address));
    assert_eq!(connection.rest(), "");
    assert_eq!(server.record().reason, Reason::DeniedByPolicy);
}

fn a_removed_root_ends_what_it_verified(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let mut connection = Client::connect(client.address("outbound"));
    assert_eq!(connection.get("/", "payments").0, 200);

    server.0.publish_credentials(mesh::credentials_from(&mesh::authority(), SERVER, 2)).unwrap();
    assert_eq!(server.record().reason, Reason::PeerNoLongerTrusted);
    let (status, body) = connection.get("/", "payments");
    assert_eq!(
        (status, &*body),
        (503, "sidering: unknown-ca"),
        "the client does not trust the new root either"
    );
}

fn an_address_in_use_refuses_the_whole_snapshot(driver: DriverChoice) {
    let application = Application::start(true);
    let server = permissive(driver, Speaks::Http, &application);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();

    let mut next = mesh::inbound(Mode::Strict, Speaks::Http, Authorization::default(), application.address);
    next.listeners.push(Arc::new(second_listener(&next, taken.local_addr().unwrap())));
    let refusal = server.0.publish(next).unwrap_err();
    assert!(
        matches!(&refusal, PublishRefusal::Bind { listener, .. } if &**listener == "second"),
        "{refusal}"
    );

    let status = server.0.status();
    assert_eq!((status.snapshot, status.listeners.len()), (1, 1));
    assert_eq!(Client::connect(server.address("inbound")).get("/", "payments").0, 200, "still permissive");
}

fn an_address_is_widened_and_narrowed_by_a_publish(driver: DriverChoice) {
    let application = Application::start(true);
    let server = permissive(driver, Speaks::Http, &application);
    let port = server.address("inbound").port();
    for ip in [[0, 0, 0, 0], [127, 0, 0, 1], [0, 0, 0, 0], [127, 0, 0, 1]] {
        let mut next =
            mesh::inbound(Mode::Permissive, Speaks::Http, Authorization::default(), application.address);
        Arc::get_mut(&mut next.listeners[0]).unwrap().bind = BindAddress::Tcp((ip, port).into());
        server.publish(next);
        assert_eq!(server.address("inbound"), (ip, port).into());
        assert_eq!(Client::connect(([127, 0, 0, 1], port).into()).get("/", "payments").0, 200);
        let elsewhere = std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 2], port)));
        assert_eq!(elsewhere.is_ok(), ip == [0, 0, 0, 0], "{elsewhere:?}");
    }
}

fn second_listener(snapshot: &Snapshot, address: std::net::SocketAddr) -> Listener {
    let first = &snapshot.listeners[0];
    Listener {
        name: "second".into(),
        bind: BindAddress::Tcp(address),
        direction: first.direction,
        captures: false,
        chains: first.chains.clone(),
        detection_timeout: None,
        origin: first.origin.clone(),
    }
}

fn credentials_that_do_not_fit_leave_the_old_in_force(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = pair(driver, Speaks::Http, Authorization::default(), &application);
    let (mut mixed, other) = (mesh::credentials(SERVER, 2), mesh::credentials(SERVER, 2));
    let mut chain = (*mixed.chain).clone();
    chain.key = other.chain.key.clone();
    mixed.chain = Arc::new(chain);
    let refusal = server.0.publish_credentials(mixed).unwrap_err();
    assert!(matches!(refusal, CredentialRefusal::Unusable { .. }), "{refusal}");
    assert_eq!(server.0.status().credentials, Some(1));
    assert_eq!(Client::connect(client.address("outbound")).get("/", "payments").0, 200);
}

fn a_port_without_a_chain_takes_nothing(driver: DriverChoice) {
    let application = Application::start(true);
    let server = Running::start(driver);
    let mut snapshot =
        mesh::inbound(Mode::Strict, Speaks::Http, Authorization::default(), application.address);
    Arc::get_mut(&mut snapshot.listeners[0]).unwrap().chains = Chains::default();
    server.publish(snapshot);
    let mut stranger = Client::connect(server.address("inbound"));
    assert_eq!(stranger.rest(), "");
    let rest = json!({
        "origin": {"kind": "Sidecar", "label": "shop/default", "position": "mesh.yaml:1:1"},
        "detail": format!("nothing is configured for such a connection to port {}", server.address("inbound").port()),
    });
    server.on_record("no-chain", stranger.record("inbound", "accept", rest));
}

fn nothing_is_done_without_credentials(driver: DriverChoice) {
    let application = Application::start(true);
    let [client, server] = [Running::start(driver), Running::start(driver)];
    server.0.publish_credentials(mesh::credentials(SERVER, 1)).unwrap();
    server.publish(mesh::inbound(Mode::Strict, Speaks::Http, Authorization::default(), application.address));
    client.publish(mesh::outbound(Speaks::Http, &[server.address("inbound")], SERVER));
    let mut connection = Client::connect(client.address("outbound"));
    assert_eq!(connection.get("/", "payments"), (503, "sidering: no-credentials".into()));
    let rest = json!({
        "request": {"method": "GET", "host": "payments", "path": "/"},
        "cluster": "outbound|8080||payments",
        "upstream": server.address("inbound"),
        "origin": {"kind": "DestinationRule", "label": "shop/payments", "position": "mesh.yaml:21:1"},
        "detail": "no certificate or trust bundle has arrived yet",
    });
    client.on_record("no-credentials", connection.record("outbound", "handshake", rest));

    client.0.publish_credentials(mesh::credentials(CLIENT, 1)).unwrap();
    assert_eq!(connection.get("/", "payments").0, 200, "now there are some, and the connection goes on");
}

fn a_head_must_come_in_time(driver: DriverChoice) {
    let application = Application::start(true);
    let limits = Limits { head: Duration::from_millis(100), ..Limits::default() };
    let server = Running::limited(driver, limits);
    server.0.publish_credentials(mesh::credentials(SERVER, 1)).unwrap();
    server.publish(mesh::inbound(
        Mode::Permissive,
        Speaks::Http,
        Authorization::default(),
        application.address,
    ));
    let mut slow = Client::connect(server.address("inbound"));
    slow.send("GET / HTTP/1.1\r\nHost: payments\r\n");
    assert_eq!(slow.response(), (408, "sidering: request-timeout".into()));
    assert_eq!(slow.rest(), "");
    server.on_record(
        "request-timeout",
        slow.record("inbound", "relay", json!({"detail": "head not complete in time"})),
    );
    assert_eq!(application.connections(), 0);
}

fn a_connection_in_which_nothing_moves_ends(driver: DriverChoice) {
    let application = Application::echo();
    let server = permissive(driver, Speaks::Tcp, &application);
    let mut snapshot =
        mesh::inbound(Mode::Permissive, Speaks::Tcp, Authorization::default(), application.address);
    let cluster = snapshot.clusters.values_mut().next().unwrap();
    Arc::get_mut(cluster).unwrap().tcp_idle_timeout = Some(Duration::from_millis(500));
    server.publish(snapshot);
    let mut connection = Client::connect(server.address("inbound"));
    connection.send("ping");
    assert_eq!(connection.exactly(4), "ping");
    assert_eq!(connection.rest(), "");
    let rest = json!({
        "cluster": "inbound|8080||",
        "upstream": application.address,
        "detail": "idle for too long",
    });
    server.on_record("idle-timeout", connection.record("inbound", "relay", rest));
}

/// An application that says when a request has come and answers when it may.
fn gated() -> (Application, mpsc::Receiver<()>, mpsc::SyncSender<()>) {
    let (arrived, arrival) = mpsc::sync_channel(1);
    let (open, gate) = mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    let application = Application::with(move |mut stream| {
        let mut buffer = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut buffer)?;
        arrived.send(()).expect("the test waits");
        let _ = gate.lock().unwrap().recv();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    });
    (application, arrival, open)
}

fn a_drain_lets_a_request_finish(driver: DriverChoice) {
    let (application, arrival, open) = gated();
    let server = permissive(driver, Speaks::Http, &application);
    let (mut idle, mut busy) =
        (Client::connect(server.address("inbound")), Client::connect(server.address("inbound")));
    busy.send("GET / HTTP/1.1\r\nHost: payments\r\n\r\n");
    arrival.recv_timeout(mesh::PATIENCE).unwrap();

    let proxy = server.0.clone();
    let draining = std::thread::spawn(move || proxy.drain(mesh::PATIENCE));
    assert_eq!(idle.rest(), "", "an idle connection is closed at once");
    open.send(()).unwrap();
    assert_eq!(busy.response(), (200, "done".into()));
    assert_eq!(busy.rest(), "");
    assert!(draining.join().unwrap(), "nothing had to be aborted");
}

fn a_drain_ends_in_time(driver: DriverChoice) {
    let (application, arrival, _open) = gated();
    let server = permissive(driver, Speaks::Http, &application);
    let mut busy = Client::connect(server.address("inbound"));
    busy.send("GET / HTTP/1.1\r\nHost: payments\r\n\r\n");
    arrival.recv_timeout(mesh::PATIENCE).unwrap();
    assert!(!server.0.drain(Duration::from_millis(50)));
    assert_eq!(busy.rest(), "");
    let rest = json!({"detail": "still open at the end of the drain"});
    server.on_record("drain-timeout", busy.record("inbound", "relay", rest));
}
