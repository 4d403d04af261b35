//! Istio resources: parsed with source positions, validated, reduced to `Effective` (what Istio's rules amount to
//! for this workload), and compiled from exactly that value to a `Snapshot`. No sockets, no async.
#![forbid(unsafe_code)]

mod compile;
mod diagnostic;
mod effective;
#[cfg(test)]
mod fixture;
mod host;
mod mesh;
mod read;
mod resource;
mod yaml;

pub use compile::{CaptureListeners, Dialled, compile, dialled};
pub use diagnostic::{Diagnostic, Findings, Severity};
pub use effective::{Authentication, DecidedMode, Effective, Endpoint, Named, Workload};
pub use mesh::{MeshConfig, OutboundTrafficPolicy, TlsParameters};
pub use read::{Fields, Reader};
pub use resource::{Action, Inline, MtlsMode, Parsed, Resources, Source, TlsMode, join, parse, parse_with};
pub use yaml::{Entry, MAX_BYTES, Node, Value, documents};
