//! A directory in which everything is sound, and what the real binary says in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

pub(crate) const BOOTSTRAP: &str =
    "workload: {name: orders-1, namespace: shop, serviceAccount: orders, addresses: [127.0.0.2]}
resources: [mesh]
mesh: {trustDomain: cluster.local}
identity: {files: {certificate: orders.pem, privateKey: orders.key, trustBundle: ca/ca.pem}}
runtime: {driver: epoll, pin: false}
admin: {socket: admin.sock}
";

/// A directory in which everything is sound until a test changes something.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.sidering(&["ca", "init", "--directory", "ca"]).is(0, &[]);
        place.issue("orders");
        fs::create_dir(place.path("mesh")).unwrap();
        place.write("mesh/strict.yaml", STRICT);
        place.write("sidering.yaml", BOOTSTRAP);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    #[track_caller]
    pub(crate) fn issue(&self, account: &str) {
        let of = ["--namespace", "shop", "--service-account", account, "--out", account];
        self.sidering(&[&["ca", "issue", "--directory", "ca"], of.as_slice()].concat()).is(0, &[]);
    }

    pub(crate) fn sidering(&self, arguments: &[&str]) -> Said {
        sidering(self.0.path(), arguments)
    }

    /// Runs the sidecar, which must refuse to start.
    #[track_caller]
    pub(crate) fn refused(&self) -> Said {
        let said = self.sidering(&["run", "--config", "sidering.yaml"]);
        assert!(!self.path("admin.sock").exists(), "the admin socket was left behind");
        assert_eq!(said.err.lines().count(), 1, "not one line: {}", said.err);
        said
    }

    /// The same, with a part of the bootstrap file replaced.
    #[track_caller]
    pub(crate) fn refused_with(&self, from: &str, to: &str) -> Said {
        assert!(BOOTSTRAP.contains(from));
        self.write("sidering.yaml", &BOOTSTRAP.replace(from, to));
        self.refused()
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn is(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {:?}", self.err);
        }
    }
}

/// A command that hangs is ended, with code 124 or 137, and fails its test.
pub(crate) fn sidering(directory: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "30", env!("CARGO_BIN_EXE_sidering")]).args(arguments);
    let Output { status, stdout, stderr } =
        command.current_dir(directory).env_remove("RUST_LOG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}
