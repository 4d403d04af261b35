//! Why a handshake or a record failed, whichever backend saw it. Closed: `proxy` turns each into a reason.

use std::io;
use std::time::Duration;

use crate::Alert;

/// What went wrong on a TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The peer presented no certificate although one is required.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The chain does not lead to a root of the bundle.
    #[error("the peer's certificate is not signed by a trusted CA")]
    UnknownCa,
    /// A certificate of the peer's chain is past its end.
    #[error("the peer's certificate expired {} s ago", by.as_secs())]
    Expired {
        /// How long ago.
        by: Duration,
    },
    /// A certificate of the peer's chain is before its start: often a clock that is wrong.
    #[error("the peer's certificate is not valid for another {} s", by.as_secs())]
    NotYetValid {
        /// How long from now.
        by: Duration,
    },
    /// The extended key usage does not allow this side of the connection.
    #[error("the peer's certificate is not for this use (extended key usage)")]
    WrongUsage,
    /// The chain is good, the name is not.
    #[error("the peer's certificate is for another name")]
    NameMismatch,
    /// Any other fault of the peer's certificate or of its signature.
    #[error("bad certificate: {0}")]
    BadCertificate(String),
    /// The peer gave up and said why.
    #[error("the peer sent the alert {0}")]
    PeerAlert(Alert),
    /// No protocol version, cipher suite, group or signature scheme in common.
    #[error("nothing in common: {0}")]
    NoSharedParameters(String),
    /// The bytes are no TLS records.
    #[error("not TLS")]
    NotTls,
    /// The peer closed without `close_notify`: what came may be cut short.
    #[error("the connection ended without close_notify")]
    Truncated,
    /// The deadline passed.
    #[error("the handshake took too long")]
    TimedOut,
    /// The connection below failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Anything else a peer can do wrong.
    #[error("TLS: {0}")]
    Other(String),
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => error,
            Failure::Truncated => io::Error::new(io::ErrorKind::UnexpectedEof, failure),
            Failure::TimedOut => io::Error::new(io::ErrorKind::TimedOut, failure),
            _ => io::Error::new(io::ErrorKind::InvalidData, failure),
        }
    }
}
