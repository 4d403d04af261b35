//! What is known of a connection before a chain is chosen. A connection keeps its facts, so that `accept` can be
//! asked again when a new Snapshot is published.

use std::net::SocketAddr;

/// The address at the far end of a downstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

/// Where the client meant to go: the original destination of captured traffic, else the listener's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination(pub SocketAddr);

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Not TLS, or not looked at.
    Raw,
    /// A TLS ClientHello.
    Tls,
}

/// The facts that chain matches read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Far end.
    pub peer: Peer,
    /// Where it meant to go.
    pub destination: Destination,
    /// From the first bytes.
    pub transport: Transport,
    /// SNI, lower case, where there is one.
    pub server_name: Option<Box<str>>,
    /// For TLS the ALPN tokens as offered; for raw what was sniffed: `http/1.0`, `http/1.1`, `h2c` or nothing.
    pub application_protocols: Vec<Box<str>>,
}
