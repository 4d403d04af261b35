//! Support library of the end-to-end tests: certificates, origins, sidecars as child processes of the real binary,
//! Envoy in their place, and clients that share no code with it. A test should need five lines; what it takes to say more lives here.
//! Nothing in here sleeps: every wait is for an event (a line, a connection, an acknowledged version) with a deadline.
#![forbid(unsafe_code)]

mod binary;
mod command;
mod connection;
mod envoy;
mod lines;
mod matrix;
mod mesh;
mod origin;
mod pair;
mod pki;
mod record;
mod sidecar;
mod subnet;
mod tls_origin;

pub use binary::binary;
pub use command::{Finished, curl, openssl, run, s_client};
pub use connection::{Connection, Reply};
pub use envoy::{EnvoyPeer, Inbound, Way};
pub use matrix::{Run, boring_epoll, boring_io_uring, rustls_epoll, rustls_io_uring};
pub use mesh::{Mesh, allow, destination_rule, peer_authentication, virtual_service};
pub use origin::{Answer, Framing, Gate, Origin, Seen, TcpOrigin, carry};
pub use pair::{HOST, Pair, PairSetup};
pub use pki::{Files, Leaf, Pki};
pub use record::{asked, origin, record};
pub use sidecar::{Bootstrap, Sidecar};
pub use subnet::{Subnet, free_port};
pub use tls_origin::TlsOrigin;

use std::time::Duration;

/// No single wait of a test is longer; on a busy machine with two cores it must be generous.
pub const PATIENCE: Duration = Duration::from_secs(30);
