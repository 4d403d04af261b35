//! The immutable Snapshot and every pure decision over it.
#![forbid(unsafe_code)]
