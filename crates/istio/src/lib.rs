//! Istio resources: parsed with source positions, validated, reduced to `Effective` (what Istio's rules amount to
//! for this workload), and compiled from exactly that value to a `Snapshot`. No sockets, no async.
#![forbid(unsafe_code)]
