//! Certificates change under a running pair: peers see the new one, nobody sees a failure.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use sidering_tests::{
    Connection, Gate, HOST, Leaf, Pair, Pki, Run, on_both_drivers, on_every_backend, openssl, record,
    s_client,
};

on_every_backend!(peers_see_the_new_serial_and_no_request_fails);
on_both_drivers!(
    a_rotation_while_a_connection_is_being_made_fails_nothing,
    a_key_that_does_not_fit_keeps_the_old_pair,
    another_bundle_closes_those_it_does_not_know
);

/// The serial that the server presents to a new connection.
fn presented(pair: &Pair) -> String {
    let request = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n";
    let told = s_client(pair.server_http(), Some(&pair.client_files), &["-alpn", "istio"], request);
    let certificate = told.stdout.find("-----BEGIN").map(|start| &told.stdout[start..]).unwrap_or_default();
    let serial = openssl(&["x509", "-noout", "-serial"], certificate.as_bytes()).ok();
    serial.trim().trim_start_matches("serial=").to_owned()
}

fn peers_see_the_new_serial_and_no_request_fails(run: Run) {
    let pair = Pair::start(run);
    assert_eq!(presented(&pair), pair.server_files.serial);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = [true, false]
        .into_iter()
        .map(|keep| {
            let (stop, sent, address) = (stop.clone(), sent.clone(), pair.subnet.address(1, 8080));
            std::thread::spawn(move || {
                let mut connection = Connection::to(address);
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(connection.get(HOST, "/").status, 200);
                    sent.fetch_add(1, Ordering::Relaxed);
                    if !keep {
                        connection = Connection::to(address);
                    }
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let client = pair.pki.issue("client", &Leaf::workload("default", "client"));
        let server = pair.pki.issue("server", &Leaf::workload("default", "server"));
        for (sidecar, files) in [(&pair.client, &client), (&pair.server, &server)] {
            sidecar.wait_serial(&files.serial);
        }
        assert_eq!(presented(&pair), server.serial);
        let mut tcp = pair.tcp();
        assert_eq!(tcp.send("x").finish().read_to_end().expect("an orderly end"), b"x");
        let serial = client.serial.as_str();
        pair.server
            .logged("the client's new serial", |entry| entry["downstream_tls"]["peer_serial"] == serial);
    }
    stop.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().expect("no request fails"));
    assert!(sent.load(Ordering::Relaxed) > 0);
}

fn a_rotation_while_a_connection_is_being_made_fails_nothing(run: Run) {
    let pair = Pair::start(run);
    let gate = Gate::shut(pair.subnet.address(7, 18080), pair.server_http());
    pair.move_endpoint("NET.7");
    let mut connection = pair.http();
    connection.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    pair.client.wait_metric("sidering_upstream_active", &[], 1.0);
    let rotated = pair.pki.issue("client", &Leaf::workload("default", "client"));
    pair.client.wait_serial(&rotated.serial);
    gate.open();
    assert_eq!(connection.reply_to("GET").text(), "this is server\n");
    let entry = pair.server.logged("the request", |entry| entry["path"] == "/");
    assert_eq!(entry["downstream_tls"]["peer_serial"], rotated.serial.as_str(), "{entry:#}");
}

fn a_key_that_does_not_fit_keeps_the_old_pair(run: Run) {
    let pair = Pair::start(run);
    let mut before = pair.server_files.serial.clone();
    for key_first in [true, false] {
        let (certificate, key, serial) = pair.pki.sign("server", &Leaf::workload("default", "server"));
        let mut halves = [(&pair.server_files.key, key), (&pair.server_files.certificate, certificate)];
        if !key_first {
            halves.reverse();
        }
        let [(first, text), (second, other)] = halves;
        fs::write(first, text).expect("the file can be written");
        pair.server
            .wait_status("a pair that does not fit", |status| status["certificate"]["stale"].is_string());
        assert_eq!(presented(&pair), before);
        assert_eq!(pair.get("/").status, 200);
        fs::write(second, other).expect("the file can be written");
        pair.server
            .wait_status("the new certificate", |status| status["certificate"]["serial"] == serial.as_str());
        assert_eq!(presented(&pair), serial);
        before = serial;
    }
}

fn another_bundle_closes_those_it_does_not_know(run: Run) {
    let pair = Pair::start(run);
    let mut tcp = pair.tcp();
    tcp.expect_echo("ping");
    let other = Pki::new(pair.directory(), "next");
    fs::copy(other.bundle(), &pair.server_files.bundle).expect("the bundle can be replaced");
    tcp.expect_closed_without_a_byte();
    let rest = json!({
        "cluster": "inbound|19090||",
        "upstream": pair.tcp_origin.address(),
        "presented": pair.client_files.presented(&["spiffe://cluster.local/ns/default/sa/client"]),
        "server_name": "outbound_.9090_._.server.default.svc.cluster.local",
        "detail": "a trust anchor was removed",
    });
    let expected = record("inbound", "naming", "127.0.0.1:*", pair.server_tcp(), rest);
    pair.server.on_record("peer-no-longer-trusted", expected);
    assert_eq!(pair.get("/").status, 503);
}
