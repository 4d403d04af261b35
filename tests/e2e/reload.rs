//! Resources change under a running sidecar: what is sound takes effect at once, on live connections too; what is
//! not leaves the last good state, and `status` names the line.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Mutex, mpsc};

use serde_json::json;
use sidering_tests::{
    Answer, Bootstrap, Connection, HOST, Leaf, Mesh, Origin, Pair, Pki, Run, Sidecar, Subnet, allow,
    on_both_drivers, origin, peer_authentication, record,
};

on_both_drivers!(
    strict_closes_kept_plaintext_after_its_request,
    a_new_denial_closes_live_tcp_and_names_its_line,
    a_broken_file_keeps_the_last_good_state_and_names_its_line,
    a_directory_that_vanishes_deletes_no_policy,
    swapped_symlinks_are_followed,
    a_new_listener_opens_and_an_old_one_closes,
    a_port_in_use_refuses_the_whole_snapshot,
    a_thousand_reloads_leave_memory_as_it_was,
    a_hundred_publishes_disturb_nothing_that_is_in_flight,
);

fn strict_closes_kept_plaintext_after_its_request(run: Run) {
    let pair = Pair::start(run);
    let (mut kept, mut tcp) = (Connection::to(pair.server_http()), Connection::to(pair.server_tcp()));
    assert_eq!(kept.get(HOST, "/").status, 200);
    let mut echo = [0; 4];
    std::io::Read::read_exact(tcp.send("ping").stream(), &mut echo).expect("plaintext is taken");
    let mut through = pair.http();
    assert_eq!(through.get(HOST, "/").status, 200);
    pair.reload(|mesh| mesh.write("strict.yaml", &peer_authentication("default", "STRICT")));
    kept.expect_closed_without_a_byte();
    tcp.expect_closed_without_a_byte();
    assert_eq!(through.get(HOST, "/").status, 200, "mTLS goes on, on its old connection");
    Connection::to(pair.server_http()).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
}

fn a_new_denial_closes_live_tcp_and_names_its_line(run: Run) {
    let pair = Pair::start(run);
    let (mut through, mut plaintext) = (pair.tcp(), Connection::to(pair.server_tcp()));
    through.expect_echo("ping");
    plaintext.expect_echo("ping");
    // Of mTLS alone: the other one lives on.
    let rule = "from: [{source: {principals: [cluster.local/ns/default/sa/client]}}]";
    pair.reload(|mesh| mesh.write("deny.yaml", &allow("no-client", rule).replace("ALLOW", "DENY")));
    through.expect_closed_without_a_byte();
    let rest = json!({
        "presented": pair.client_files.presented(&["spiffe://cluster.local/ns/default/sa/client"]),
        "server_name": "outbound_.9090_._.server.default.svc.cluster.local",
        "cluster": "inbound|19090||",
        "upstream": pair.tcp_origin.address(),
        "origin": origin("AuthorizationPolicy", "default/no-client[0]", "deny.yaml:8:5"),
        "detail": "*",
    });
    let expected = record("inbound", "authorize", "127.0.0.1:*", pair.server_tcp(), rest);
    pair.server.on_record("denied-by-policy", expected);
    plaintext.expect_echo("pong");
    Connection::expect_refused(pair.subnet.address(1, 9090), b"ping");
}

fn a_broken_file_keeps_the_last_good_state_and_names_its_line(run: Run) {
    let strict = peer_authentication("default", "STRICT");
    let pair = Pair::with(run).yaml("strict.yaml", strict.clone()).start();
    for (broken, line) in [
        (strict.replace("STRICT", "STRIKT"), "mesh/strict.yaml:4"),
        (strict.replace("spec:", "spec: ["), "mesh/strict.yaml:5"),
        (strict.replace("mode:", "mood:"), "mesh/strict.yaml:4"),
    ] {
        let version = pair.server.version();
        pair.mesh.write("strict.yaml", &broken);
        let status = pair.server.wait_stale(line);
        assert_eq!(status["version"], version, "{status:#}");
        Connection::to(pair.server_http()).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
        assert_eq!(pair.get("/").status, 200);
        pair.mesh.write("strict.yaml", &strict);
        pair.server.wait_current();
    }
}

fn a_directory_that_vanishes_deletes_no_policy(run: Run) {
    let pair = Pair::with(run).yaml("strict.yaml", peer_authentication("default", "STRICT")).start();
    let away = pair.directory().join("away");
    fs::rename(pair.mesh.directory(), &away).expect("a directory can be renamed");
    pair.server.wait_stale("mesh");
    Connection::to(pair.server_http()).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
    assert_eq!(pair.get("/").status, 200);
    fs::rename(&away, pair.mesh.directory()).expect("a directory can be renamed");
    pair.server.wait_current();
}

fn swapped_symlinks_are_followed(run: Run) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let subnet = Subnet::new();
    let pki = Pki::new(directory.path(), "ca");
    let files = pki.issue("server", &Leaf::workload("default", "server"));
    for (version, mode) in [("a", "PERMISSIVE"), ("b", "STRICT")] {
        let mesh = Mesh::new(&directory.path().join(version), subnet);
        mesh.write("mesh.yaml", &format!("{}---\n{INGRESS}", peer_authentication("default", mode)));
    }
    // As a Kubernetes volume does it: a link to a link, swapped by renaming.
    symlink("a/mesh", directory.path().join("..data")).expect("a link can be made");
    symlink("..data", directory.path().join("mesh")).expect("a link can be made");
    let sidecar = Sidecar::start(&Bootstrap::new(run, directory.path(), "server", subnet.ip(2), &files));
    sidecar.reload(|| {
        symlink("b/mesh", directory.path().join("..next")).expect("a link can be made");
        fs::rename(directory.path().join("..next"), directory.path().join("..data"))
            .expect("a link can be swapped");
    });
    let refused = || {
        Connection::to(subnet.address(2, 18080))
            .send("GET / HTTP/1.1\r\n\r\n")
            .expect_closed_without_a_byte();
    };
    refused();
    sidecar.refusal("plaintext-to-strict");
    // To nothing: what was there stays.
    symlink("gone/mesh", directory.path().join("..next")).expect("a link can be made");
    fs::rename(directory.path().join("..next"), directory.path().join("..data"))
        .expect("a link can be swapped");
    sidecar.wait_stale("mesh");
    refused();
}

fn a_new_listener_opens_and_an_old_one_closes(run: Run) {
    let pair = Pair::start(run);
    let sidecars = fs::read_to_string(pair.mesh.path("sidecars.yaml")).expect("the pair wrote it");
    pair.reload(|mesh| {
        mesh.write(
            "sidecars.yaml",
            &sidecars.replace("port: {number: 8080,", "port: {number: 8081,").replace("9090,", "9091,"),
        )
    });
    // Services are found by the listener's port, so the moved one leads nowhere; but it is there, and the old is not.
    assert_eq!(Connection::to(pair.subnet.address(1, 8081)).get(HOST, "/").status, 404);
    assert!(std::net::TcpStream::connect(pair.subnet.address(1, 8080)).is_err());
}

fn a_port_in_use_refuses_the_whole_snapshot(run: Run) {
    let pair = Pair::start(run);
    let holder = std::net::TcpListener::bind(pair.subnet.address(1, 8081)).expect("nobody has it yet");
    let version = pair.client.version();
    let sidecars = fs::read_to_string(pair.mesh.path("sidecars.yaml")).expect("the pair wrote it");
    pair.mesh.write("sidecars.yaml", &sidecars.replace("port: {number: 8080,", "port: {number: 8081,"));
    let status = pair.client.wait_stale("8081");
    assert_eq!(status["version"], version, "{status:#}");
    assert_eq!(pair.get("/").status, 200);
    drop(holder);
}

fn a_thousand_reloads_leave_memory_as_it_was(run: Run) {
    let pair = Pair::with(run).yaml("mode.yaml", peer_authentication("default", "PERMISSIVE")).start();
    // Two sets of resources at rest, and a link that is swapped: what was just written would have to rest first.
    let sets = ["PERMISSIVE", "STRICT"].map(|mode| pair.directory().join(mode));
    fs::rename(pair.mesh.directory(), &sets[0]).expect("a directory can be renamed");
    symlink(&sets[0], pair.mesh.directory()).expect("a link can be made");
    fs::create_dir(&sets[1]).expect("a directory can be made");
    for entry in fs::read_dir(&sets[0]).expect("a directory can be listed") {
        let entry = entry.expect("a directory can be listed");
        fs::copy(entry.path(), sets[1].join(entry.file_name())).expect("a file can be copied");
    }
    let strict = peer_authentication("default", "STRICT")
        + "---\n"
        + &allow("mesh", "from: [{source: {namespaces: [default]}}]");
    fs::write(sets[1].join("mode.yaml"), strict).expect("a file can be written");

    // Connections must not keep what they were decided by either.
    let (mut tcp, mut http) = (pair.tcp(), pair.http());
    let mut used = || {
        tcp.expect_echo("pong");
        assert_eq!(http.get(HOST, "/").status, 200);
        pair.server.resident()
    };
    let mut resident = vec![used()];
    for _ in 0..10 {
        let before = pair.server.version();
        for set in sets.iter().cycle().skip(1).take(100) {
            let next = pair.directory().join("next");
            symlink(set, &next).expect("a link can be made");
            fs::rename(next, pair.mesh.directory()).expect("a link can be swapped");
            pair.server.publish_now();
        }
        assert!(pair.server.version() >= before + 100);
        resident.push(used());
    }
    println!("{run}: KiB after each hundred {resident:?}");
    // One more thread of the control side brings a heap with it, once; what each reload leaves behind shows each time.
    let mut grown: Vec<i64> = resident.windows(2).map(|two| two[1] - two[0]).collect();
    grown.sort_unstable();
    assert!(grown[5] < 128, "KiB in each hundred: {grown:?}");
}

fn a_hundred_publishes_disturb_nothing_that_is_in_flight(run: Run) {
    let (asked, was_asked) = mpsc::channel();
    let (answer, told) = mpsc::channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_| {
        asked.send(()).expect("the test waits for it");
        // A test that failed no longer tells.
        let _ = told.lock().expect("no holder panics").recv();
        Answer::ok("done")
    });
    let pair = Pair::with(run).origin(origin).start();
    let (mut tcp, mut http) = (pair.tcp(), pair.http());
    tcp.expect_echo("before");
    http.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    was_asked.recv().expect("the request reaches the application");
    for _ in 0..10 {
        pair.client.publish_again(10);
        pair.server.publish_again(10);
        tcp.expect_echo("between");
    }
    answer.send(()).expect("the application waits for it");
    assert_eq!(http.reply_to("GET").text(), "done");
    assert_eq!((pair.origin.accepted(), pair.tcp_origin.accepted()), (1, 1));
}

/// Every cut of this file is wrong: its one brace closes at its very end.
#[test]
fn a_file_cut_at_any_byte_keeps_the_last_good_state() {
    let pair = Pair::start(sidering_tests::rustls_io_uring());
    let whole = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
                 metadata: {name: cut, namespace: default}, spec: {mtls: {mode: STRICT}}}";
    pair.reload(|mesh| mesh.write("cut.yaml", whole));
    for end in 1..whole.len() {
        let rejected = rejected_loads(&pair);
        pair.mesh.write("cut.yaml", &whole[..end]);
        let status = pair.server.wait_status("looking at the cut file", |_| rejected_loads(&pair) > rejected);
        let problems = status["stale"].to_string();
        assert!(problems.contains("mesh/cut.yaml:"), "at {end}: {status:#}");
        Connection::to(pair.server_http()).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
    }
}

fn rejected_loads(pair: &Pair) -> f64 {
    pair.server.metric("sidering_config_reloads_total", &["of=\"resources\"", "result=\"rejected\""])
}

const INGRESS: &str = "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: server, namespace: default}
spec:
  ingress:
  - {bind: NET.2, port: {number: 18080, protocol: HTTP, name: http}, captureMode: NONE, defaultEndpoint: '127.0.0.1:9'}
";
