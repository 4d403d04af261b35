//! Recognises HTTP by its first bytes, for ports whose protocol is not declared. Pure; called by the sniffer.

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detected {
    /// Could still become any of the others.
    Incomplete,
    /// A request line of HTTP/1.0.
    Http10,
    /// A request line of HTTP/1.1.
    Http11,
    /// The connection preface of HTTP/2 (RFC 9113, 3.4).
    H2Preface,
    /// Not HTTP.
    Other,
}

/// What `bytes`, the first of a connection, are. Says `Other` as early as they cannot be HTTP any more.
pub fn detect(_bytes: &[u8]) -> Detected {
    todo!()
}
