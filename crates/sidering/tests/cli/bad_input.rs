//! What the operator wrote wrong: one line with the place and what to write instead, exit code 2, nothing left running.

use std::fs;
use std::net::TcpListener;

use crate::place::{BOOTSTRAP, Place, STRICT};

#[test]
fn the_bootstrap_file_is_checked_first() {
    let place = Place::new();
    place.refused_with("driver: epoll", "drivr: epoll").is(2, &["sidering.yaml:5:11: ", "`drivr`", "driver"]);
    place.refused_with(", serviceAccount: orders", "").is(2, &["sidering.yaml:1:", "`serviceAccount`"]);
    place.refused_with("admin: {", "admin: [").is(2, &["sidering.yaml:6:"]);
    place
        .refused_with("driver: epoll", "driver: kqueue")
        .is(2, &["sidering.yaml:5:", "kqueue", "io_uring", "epoll"]);
    place
        .refused_with("pin: false}", "pin: false}\ntls: {backend: openssl}")
        .is(2, &["sidering.yaml:6:", "openssl", "rustls"]);
    place
        .refused_with("trustDomain: cluster.local", "trustDomain: Cluster Local")
        .is(2, &["sidering.yaml:3:", "Cluster Local"]);
    fs::remove_file(place.path("sidering.yaml")).unwrap();
    place.refused().is(2, &["sidering.yaml", "No such file"]);
}

#[test]
fn resources_are_checked_before_anything_starts() {
    let place = Place::new();
    place.write("mesh/strict.yaml", &STRICT.replace("STRICT", "STRIKT"));
    place.refused().is(2, &["mesh/strict.yaml:4:", "STRIKT", "STRICT"]);
    place.write("mesh/strict.yaml", &STRICT.replace("mtls:", "tls:"));
    place.refused().is(2, &["mesh/strict.yaml:4:", "tls"]);
    place.write("mesh/strict.yaml", "kind: [");
    place.refused().is(2, &["mesh/strict.yaml:"]);
    place.write("mesh/strict.yaml", "\n");
    place.refused().is(2, &["mesh/strict.yaml", "empty"]);
    fs::remove_file(place.path("mesh/strict.yaml")).unwrap();
    place.refused().is(2, &["mesh", "holds no .yaml"]);
    fs::remove_dir(place.path("mesh")).unwrap();
    place.refused().is(2, &["mesh: no such file or directory"]);
}

#[test]
fn certificates_are_checked_before_anything_starts() {
    let place = Place::new();
    place.issue("other");
    fs::copy(place.path("other.key"), place.path("orders.key")).unwrap();
    place.refused().is(2, &["orders.key does not fit", "orders.pem"]);
    place.write("orders.key", "nothing");
    place.refused().is(2, &["orders.key: ", "no private key", "-----BEGIN PRIVATE KEY-----"]);
    fs::remove_file(place.path("orders.pem")).unwrap();
    place.refused().is(2, &["orders.pem: no such file"]);
    place.issue("orders");
    place
        .refused_with("trustBundle: ca/ca.pem", "trustBundle: mesh/strict.yaml")
        .is(2, &["mesh/strict.yaml: no certificate", "-----BEGIN CERTIFICATE-----"]);
    let files = BOOTSTRAP.lines().nth(3).unwrap();
    let embedded = "identity: {embeddedCa: {directory: elsewhere}}";
    place.refused_with(files, embedded).is(2, &["elsewhere/ca.pem"]);
}

#[test]
fn ports_in_use_are_named() {
    let place = Place::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let from = BOOTSTRAP.lines().last().unwrap();
    for (key, column) in [("admin", 18), ("stats", 18), ("readiness", 22)] {
        let line = format!("{key}: {{address: \"{taken}\"}}");
        let expected = format!("sidering.yaml:6:{column}: {key}.address: cannot listen on {taken}: ");
        place.refused_with(from, &line).is(2, &[&expected, "in use", ADVICE]);
    }
    for (key, column) in [("inbound", 22), ("outbound", 23)] {
        let line = format!("{from}\nlisteners: {{{key}: \"{taken}\"}}");
        let expected = format!("listeners.{key} (sidering.yaml:7:{column}): ");
        place.refused_with(from, &line).is(2, &[&expected, &taken, "in use", ADVICE]);
    }
    place.write("sidering.yaml", BOOTSTRAP);
    place.write("mesh/sidecar.yaml", &SIDECAR.replace("PORT", taken.rsplit(':').next().unwrap()));
    place.refused().is(2, &["Sidecar shop/default (mesh/sidecar.yaml:6:5): ", &taken, "in use", ADVICE]);
}

const ADVICE: &str = "; choose another port or path, or stop what holds it";

const SIDECAR: &str = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  ingress:
  - bind: 127.0.0.1
    port: {number: PORT, protocol: HTTP, name: http}
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:9
";
