//! Bad input, and the commands that need no traffic: each test runs the real binary and looks at what an operator
//! sees, its exit code and its one line, and that nothing stays behind.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

const BOOTSTRAP: &str =
    "workload: {name: orders-1, namespace: shop, serviceAccount: orders, addresses: [127.0.0.2]}
resources: [mesh]
mesh: {trustDomain: cluster.local}
identity: {files: {certificate: orders.pem, privateKey: orders.key, trustBundle: ca/ca.pem}}
runtime: {driver: epoll, pin: false}
admin: {socket: admin.sock}
";

/// A directory in which everything is sound until a test changes something.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.sidering(&["ca", "init", "--directory", "ca"]).is(0, &[]);
        place.issue("orders");
        fs::create_dir(place.path("mesh")).unwrap();
        place.write("mesh/strict.yaml", STRICT);
        place.write("sidering.yaml", BOOTSTRAP);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    #[track_caller]
    fn issue(&self, account: &str) {
        let of = ["--namespace", "shop", "--service-account", account, "--out", account];
        self.sidering(&[&["ca", "issue", "--directory", "ca"], of.as_slice()].concat()).is(0, &[]);
    }

    fn sidering(&self, arguments: &[&str]) -> Said {
        sidering(self.0.path(), arguments)
    }

    /// Runs the sidecar, which must refuse to start.
    #[track_caller]
    fn refused(&self) -> Said {
        let said = self.sidering(&["run", "--config", "sidering.yaml"]);
        assert!(!self.path("admin.sock").exists(), "the admin socket was left behind");
        assert_eq!(said.err.lines().count(), 1, "not one line: {}", said.err);
        said
    }

    /// The same, with a part of the bootstrap file replaced.
    #[track_caller]
    fn refused_with(&self, from: &str, to: &str) -> Said {
        assert!(BOOTSTRAP.contains(from));
        self.write("sidering.yaml", &BOOTSTRAP.replace(from, to));
        self.refused()
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn is(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {:?}", self.err);
        }
    }
}

/// A command that hangs is ended, with code 124 or 137, and fails its test.
fn sidering(directory: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "30", env!("CARGO_BIN_EXE_sidering")]).args(arguments);
    let Output { status, stdout, stderr } =
        command.current_dir(directory).env_remove("RUST_LOG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

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
    for key in ["admin", "stats", "readiness"] {
        let line = format!("{key}: {{address: \"{taken}\"}}");
        let from = BOOTSTRAP.lines().last().unwrap();
        place.refused_with(from, &line).is(2, &[&format!("{key}.address"), &taken, "in use"]);
    }
    place.write("sidering.yaml", BOOTSTRAP);
    place.write("mesh/sidecar.yaml", &SIDECAR.replace("PORT", taken.rsplit(':').next().unwrap()));
    place.refused().is(2, &[&taken, "in use", "mesh/sidecar.yaml:"]);
}

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

#[test]
fn a_certificate_authority_is_made_and_issues() {
    let place = Place::new();
    place.sidering(&["ca", "init", "--directory", "ca"]).is(2, &["ca/ca.pem exists already"]);
    let issue = |arguments: &[&str]| place.sidering(&[&["ca", "issue", "--out", "x"], arguments].concat());
    issue(&["--directory", "nowhere", "--id", "spiffe://a/b"]).is(2, &["nowhere/ca.pem"]);
    issue(&["--directory", "ca", "--id", "https://a/b"]).is(2, &["spiffe://"]);
    issue(&["--directory", "ca", "--namespace", "shop"]).is(2, &["--service-account"]);
    let id = "spiffe://cluster.local/ns/a/sa/b";
    let said = issue(&["--directory", "ca", "--id", id, "--lifetime", "1h", "--dns", "b.a.svc", "b"]);
    said.is(0, &[]);
    assert!(said.out.contains("issued spiffe://cluster.local/ns/a/sa/b: x.pem and x.key"), "{said:?}");
    assert!(place.path("x.pem").exists() && place.path("x.key").exists());
}

#[test]
fn whoever_asks_a_sidecar_that_is_not_there_is_told() {
    let place = Place::new();
    for command in ["status", "certs", "drain", "explain"] {
        place
            .sidering(&[command, "--socket", "admin.sock"])
            .is(3, &["admin.sock: ", "is the sidecar running"]);
    }
    place.sidering(&["status", "--config", "sidering.yaml"]).is(3, &["admin.sock"]);
    place
        .sidering(&["wait", "--socket", "admin.sock", "--timeout", "100ms"])
        .is(124, &["not ready after 100ms"]);
    place.sidering(&["explain", "nonsense", "--socket", "admin.sock"]).is(1, &["nonsense"]);
    place.sidering(&["stats"]).is(2, &["stats"]);
    place.sidering(&["run"]).is(2, &["--config"]);
}

#[test]
fn lint_names_every_line() {
    let place = Place::new();
    let sound = place.sidering(&["lint", "mesh"]);
    assert_eq!((sound.code, sound.out.as_str()), (0, ""), "{sound:?}");
    place.write("mesh/broken.yaml", &STRICT.replace("STRICT", "STRIKT").replace("default", "broken"));
    let found = place.sidering(&["lint", "mesh"]);
    found.is(1, &["1 finding"]);
    assert!(found.out.starts_with("mesh/broken.yaml:4:"), "{found:?}");
    let found = place.sidering(&["lint", "mesh", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!((&found[0]["line"], &found[0]["severity"]), (&4.into(), &"error".into()), "{found:#}");
    place.sidering(&["lint", "nowhere"]).is(2, &["nowhere: no such file or directory"]);
}

#[test]
fn the_version_says_what_runs_here() {
    let said = sidering(Path::new("."), &["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["drivers"].as_array().unwrap().contains(&"epoll".into()), "{version:#}");
    assert!(!version["backends"].as_array().unwrap().is_empty(), "{version:#}");
}
