//! The sidecar: command line, bootstrap file and wiring; logic lives in the crates below.
#![forbid(unsafe_code)]

fn main() {}
