//! What the control thread is told: the state of the data path and the sum of its counters. Plain values; the binary
//! renders them.

use serde::Serialize;
use sidering_policy::{Direction, Version};

use crate::Reason;
use crate::histogram::Distribution;
use crate::series::Labels;

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
    /// Requests and opaque connections.
    pub traffic: Vec<Traffic>,
    /// There was so much of different kinds that some is counted without its peer and destination.
    pub traffic_unnamed: bool,
    /// Downstream connections.
    pub connections: Vec<Connections>,
    /// Refusals and failures; only those that occurred.
    pub refusals: Vec<Refusals>,
    /// TLS handshakes completed.
    pub handshakes: Vec<Handshakes>,
    /// What connections began with.
    pub detections: Vec<Detections>,
    /// Where time went.
    pub latencies: Vec<Latency>,
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

/// Requests, or opaque connections, of one kind.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Of which kind.
    pub labels: Labels,
    /// How many requests; none of opaque connections.
    pub requests: u64,
    /// From a request's head to the end of its response.
    pub duration: Distribution,
    /// Of bodies.
    pub request_bytes: Distribution,
    /// Of bodies.
    pub response_bytes: Distribution,
    /// Opaque connections that were joined to their upstream.
    pub opened: u64,
    /// Those that ended.
    pub closed: u64,
    /// Bytes that they brought from the downstream so far.
    pub received_bytes: u64,
    /// Bytes that they took to the downstream so far.
    pub sent_bytes: u64,
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

/// What connections of one direction began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detections {
    /// Which way.
    pub direction: Direction,
    /// With what.
    pub outcome: Detection,
    /// How many.
    pub count: u64,
}

/// What the first bytes of a connection were, where its listener had to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// A ClientHello.
    Tls,
    /// A request of HTTP/1.0 or 1.1.
    Http1,
    /// The preface of HTTP/2.
    Http2,
    /// Something else.
    Other,
    /// Nothing came in time, or not enough of it.
    Timeout,
    /// The client closed, or failed, before it was known.
    Closed,
}

/// Time spent in one part of the story.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Which way.
    pub direction: Direction,
    /// In which part.
    pub span: Span,
    /// How long.
    pub time: Distribution,
}

/// A part of a connection's or request's story that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From taking a connection to its turn on the core.
    Accept,
    /// To the first bytes that tell what it is: the client's time.
    Sniff,
    /// TLS with the downstream, its round trips included.
    Handshake,
    /// Normalising, authorizing and routing a request.
    Authorize,
    /// A new connection to an upstream, its TLS included.
    Connect,
    /// From a request's way up to the head of its response: the upstream's time.
    FirstByte,
    /// Of each request that was served all that was not waiting for a connection or for the response's head.
    Own,
}

impl Detection {
    /// In the order of their discriminants.
    pub const ALL: &[Self] = &[Self::Tls, Self::Http1, Self::Http2, Self::Other, Self::Timeout, Self::Closed];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Other => "other",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
        }
    }
}

impl Span {
    /// In the order of their discriminants, which is the story's.
    pub const ALL: &[Self] = &[
        Self::Accept,
        Self::Sniff,
        Self::Handshake,
        Self::Authorize,
        Self::Connect,
        Self::FirstByte,
        Self::Own,
    ];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Sniff => "sniff",
            Self::Handshake => "handshake",
            Self::Authorize => "authorize",
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Own => "own",
        }
    }
}

/// `request_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestProtocol {
    /// HTTP of any version.
    Http,
    /// gRPC, told by its content type.
    Grpc,
    /// Opaque bytes.
    Tcp,
}

impl RequestProtocol {
    /// As in Istio's metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
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
