//! The architecture as a test: which crate may use which, and what may be named where (docs/architecture.md). It reads
//! `cargo metadata` and the sources, so nobody has to remember it in review. A violation names the place and the rule.

mod edges;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let violations = edges::violations(&metadata());
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn sources_name_only_what_they_may() {
    let violations = sources::violations(&root());
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}
