//! What can go wrong in an exchange: `Malformed` is the peer's fault and names the rule it broke, `Failure` is
//! everything that ends an exchange early. `proxy` turns both into reasons.

use std::io;

/// Which rule a message broke. The reading is the strictest that RFC 9112 allows: what two parsers could read in
/// two ways is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A request line that is not `method SP target SP version`, or a status line that is not
    /// `version SP three digits SP reason` (RFC 9112, 3 and 4).
    #[error("malformed start line")]
    StartLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// A method that is not a token.
    #[error("malformed method")]
    Method,
    /// A request target that is neither origin-form, absolute-form of http or https, nor `*` with OPTIONS; or one
    /// with a fragment, user information, or bytes that a URI has not (RFC 9112, 3.2).
    #[error("malformed request target")]
    Target,
    /// CONNECT: a sidecar is nobody's forward proxy.
    #[error("CONNECT is not supported")]
    Connect,
    /// A bare CR or LF in a head, a chunk line or a trailer (RFC 9112, 2.2).
    #[error("bare CR or LF")]
    LineEnding,
    /// An empty name, one that is not a token, or whitespace before the colon (RFC 9112, 5.1).
    #[error("malformed header name")]
    HeaderName,
    /// A control byte in a value (RFC 9110, 5.5).
    #[error("malformed header value")]
    HeaderValue,
    /// A header continued on the next line (RFC 9112, 5.2).
    #[error("folded header line")]
    FoldedLine,
    /// A head over its limit, in bytes.
    #[error("head over the limit of {limit} bytes")]
    HeadTooLarge {
        /// `Limits::head_bytes`.
        limit: usize,
    },
    /// More headers than the limit.
    #[error("more than {limit} headers")]
    TooManyHeaders {
        /// `Limits::headers`.
        limit: usize,
    },
    /// HTTP/1.1 without Host (RFC 9112, 3.2).
    #[error("no Host header")]
    HostMissing,
    /// More than one Host.
    #[error("more than one Host header")]
    HostRepeated,
    /// A Host that is not `host [":" port]`.
    #[error("malformed Host header")]
    Host,
    /// Content-Length that is not one decimal number below 2^63: empty, signed, a list, repeated (RFC 9112, 6.3).
    #[error("malformed Content-Length")]
    ContentLength,
    /// Content-Length beside Transfer-Encoding (RFC 9112, 6.1).
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    /// Transfer-Encoding other than exactly `chunked`, or more than one.
    #[error("unsupported Transfer-Encoding")]
    TransferEncoding,
    /// Transfer-Encoding in HTTP/1.0, or in a response that can have no body.
    #[error("Transfer-Encoding where there can be none")]
    EncodingNotAllowed,
    /// A chunk size that is not hexadecimal below 2^63, or chunk data not followed by CRLF (RFC 9112, 7.1).
    #[error("malformed chunk")]
    Chunk,
    /// A chunk line, extensions included, over its limit, in bytes.
    #[error("chunk line over the limit of {limit} bytes")]
    ChunkLineTooLong {
        /// `Limits::chunk_line_bytes`.
        limit: usize,
    },
    /// A trailer section over its limit, in bytes.
    #[error("trailers over the limit of {limit} bytes")]
    TrailersTooLarge {
        /// `Limits::trailer_bytes`.
        limit: usize,
    },
    /// The head did not arrive in time (`Limits::head`).
    #[error("head not complete in time")]
    HeadTimeout,
    /// A response with a 1xx status that nobody asked for: 101 without an upgrade, or too many of them.
    #[error("unexpected informational response")]
    Informational,
}

/// What was being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The rest of a head.
    Head,
    /// More of a body from the peer.
    Read,
    /// The peer to take what was written.
    Write,
}

/// Why an exchange, or a whole connection, ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The peer broke a rule; nothing of the offending message was passed on.
    #[error("malformed message: {0}")]
    Malformed(#[from] Malformed),
    /// The peer closed before the first byte of a response.
    #[error("closed before a response")]
    Closed,
    /// The peer closed inside a message.
    #[error("closed inside a message")]
    Truncated,
    /// No progress within the limit.
    #[error("no progress in time ({0:?})")]
    TimedOut(Phase),
    /// The body handed to a `BodyWriter` is not as long as the length announced with the head.
    #[error("body differs from its announced length")]
    BodyLength,
    /// The exchange is over, or its other half failed.
    #[error("exchange aborted")]
    Aborted,
    /// The stream failed.
    #[error("stream failed: {0}")]
    Io(#[from] io::Error),
}
