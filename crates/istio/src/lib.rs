//! Istio resources: parsed with source positions, validated, reduced to `Effective` (what Istio's rules amount to
//! for this workload), and compiled from exactly that value to a `Snapshot`. No sockets, no async.
#![forbid(unsafe_code)]

mod compile;
mod diagnostic;
mod effective;
mod mesh;
mod resource;

pub use compile::{CaptureListeners, compile};
pub use diagnostic::{Diagnostic, Severity};
pub use effective::{Effective, Workload};
pub use mesh::{MeshConfig, OutboundTrafficPolicy, TlsParameters};
pub use resource::{Resources, Source, parse};
