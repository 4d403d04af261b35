//! Finds the real binary: `SIDERING_BIN` if set, else built beside the test executable with both TLS backends.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `sidering` executable; built once per process, which costs nothing when it is fresh.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("SIDERING_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("a running test has an executable");
    // TARGET/PROFILE/deps/e2e-HASH
    let profile = test.ancestors().nth(2).expect("a test executable lies in PROFILE/deps");
    let target = profile.parent().expect("a profile directory lies in the target directory");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--package", "sidering", "--features", "boring", "--target-dir"])
        .arg(target);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "building sidering: {}", String::from_utf8_lossy(&output.stderr));
    profile.join("sidering")
}
