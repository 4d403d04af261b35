//! What the control thread is told: the state of the data path and the sum of its counters. Plain values; the binary
//! renders them.

use serde::Serialize;
use sidering_policy::{Direction, Version};

use crate::Reason;

/// The state of the data path.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// `rustls` or `boring`.
    pub backend: String,
    /// Of the Snapshot that every core has; 0 before the first.
    pub snapshot: u64,
    /// Of the newest Snapshot handed to the cores: above `snapshot` while one has not switched.
    pub published: u64,
    /// The compiler's warnings about that Snapshot.
    pub warnings: Vec<String>,
    /// Of the credentials that every core has; absent before the first.
    pub credentials: Option<u64>,
    /// What is bound.
    pub listeners: Vec<ListenerStatus>,
    /// Of these, what a core has lost: the listener, the core and why. The next publish binds it anew.
    pub deaf: Vec<String>,
    /// In the workers' order.
    pub cores: Vec<CoreStatus>,
    /// A drain has begun.
    pub draining: bool,
}

/// A bound listener.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerStatus {
    /// As in the Snapshot.
    pub name: String,
    /// The bound address, its port known: `127.0.0.1:15006` or a path.
    pub address: String,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct CoreStatus {
    /// Downstream connections that it serves.
    pub connections: u64,
    /// The Snapshot that it has.
    pub snapshot: u64,
    /// The credentials that it has.
    pub credentials: Option<u64>,
}

/// The counters, summed over all cores. Everything only grows, except where it says "now".
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Requests answered.
    pub requests: Vec<Requests>,
    /// Downstream connections.
    pub connections: Vec<Connections>,
    /// Refusals and failures; only those that occurred.
    pub refusals: Vec<Refusals>,
    /// TLS handshakes completed.
    pub handshakes: Vec<Handshakes>,
    /// Requests that were sent to another endpoint, or again.
    pub retries: u64,
    /// Requests and connections that were allowed and that a dry-run policy would have denied.
    pub dry_run_denials: u64,
    /// Upstream connections made.
    pub upstream_connects: u64,
    /// Upstream connections that are idle now.
    pub upstream_idle: u64,
    /// Upstream connections in use now.
    pub upstream_active: u64,
    /// Access log lines that were dropped.
    pub log_dropped: u64,
    /// The Snapshot in force on every core.
    pub snapshot: Version,
}

/// Requests of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Which way.
    pub direction: Direction,
    /// Whether the downstream (inbound) or the upstream (outbound) leg was mutual TLS.
    pub security: Security,
    /// HTTP status; 0 where the exchange ended without one.
    pub code: u16,
    /// How many.
    pub count: u64,
}

/// `connection_security_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Mesh mutual TLS.
    MutualTls,
    /// Plaintext, or TLS that authenticates nobody of the mesh.
    None,
}

/// Downstream connections of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Which way.
    pub direction: Direction,
    /// Accepted.
    pub opened: u64,
    /// Ended. What is open now is the difference.
    pub closed: u64,
    /// Of those accepted: mutual TLS with a believed identity.
    pub mutual_tls: u64,
    /// Of those accepted: taken as plaintext (or opaque TLS).
    pub plaintext: u64,
    /// Payload bytes of opaque TCP from the downstream.
    pub received_bytes: u64,
    /// Payload bytes of opaque TCP to the downstream.
    pub sent_bytes: u64,
}

/// Refusals of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// Which way.
    pub direction: Direction,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

/// Handshakes of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshakes {
    /// Inbound: we were the server. Outbound: the client.
    pub direction: Direction,
    /// Whole ones.
    pub full: u64,
    /// Resumed ones.
    pub resumed: u64,
}

impl Security {
    /// As in Istio's metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::None => "none",
        }
    }
}
