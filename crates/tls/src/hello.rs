//! Reads a ClientHello out of a connection's first bytes, without a TLS library: which chain a connection belongs to
//! is decided by what the client *offers* (RFC 8446 4.1.2, RFC 6066 3, RFC 7301). Hostile input throughout.

/// Bytes of input, and of the hello itself, beyond which we stop waiting.
const LIMIT: usize = 64 * 1024;

/// What a client offers, as far as choosing a chain needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The SNI host name, in lower case.
    pub server_name: Option<Box<str>>,
    /// The offered application protocols, in order; bytes that are no UTF-8 (GREASE) show as U+FFFD.
    pub alpn: Vec<Box<str>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// A good beginning; more is needed.
    Incomplete,
    /// A whole ClientHello.
    Hello(ClientHello),
    /// Not TLS; said as early as the first byte that no TLS record can have there.
    NotTls,
    /// A TLS record layer with something broken in it.
    Malformed(&'static str),
}

/// Reads the first bytes of a connection.
pub fn inspect(bytes: &[u8]) -> Inspected {
    let _ = bytes;
    todo!()
}
