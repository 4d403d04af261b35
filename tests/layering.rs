//! The crate graph.
fn main() {}
