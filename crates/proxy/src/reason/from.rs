//! What each lower crate says, as a reason. No `_` arm: whatever a crate learns to say needs a decision here.

use sidering_http::Malformed;
use sidering_identity::IdentityError;
use sidering_policy::Refusal;

use crate::Reason;

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NoListener { .. } => Self::NoListener,
            Refusal::PlaintextToStrict { .. } => Self::PlaintextToStrict,
            Refusal::TlsNotAccepted { .. } => Self::TlsNotAccepted,
            Refusal::NoChain { .. } => Self::NoChain,
            Refusal::Denied { .. } => Self::DeniedByPolicy,
            Refusal::NotAllowed { .. } => Self::NotAllowedByPolicy,
            Refusal::CustomUnsupported { .. } => Self::CustomUnsupported,
            Refusal::UnknownHost { blackhole: false, .. } => Self::UnknownHost,
            Refusal::UnknownHost { blackhole: true, .. } => Self::HostNotRegistered,
            Refusal::NoRoute { .. } => Self::NoRoute,
            Refusal::NoCluster { .. } => Self::NoCluster,
            Refusal::NoEndpoint { .. } => Self::NoEndpoint,
            Refusal::BlackHole { .. } => Self::BlackHole,
        }
    }
}

impl From<&IdentityError> for Reason {
    fn from(error: &IdentityError) -> Self {
        match error {
            IdentityError::San(_) => Self::CertificateInvalid,
            IdentityError::NoSpiffeId => Self::NoSpiffeId,
            IdentityError::ManyUris(_) => Self::ManyUriNames,
            IdentityError::TrustDomain { .. } => Self::TrustDomainMismatch,
            IdentityError::Naming { .. } => Self::SecureNamingMismatch,
        }
    }
}

impl From<&sidering_tls::Failure> for Reason {
    fn from(failure: &sidering_tls::Failure) -> Self {
        use sidering_tls::Failure;
        match failure {
            Failure::NoCertificate => Self::NoClientCertificate,
            Failure::UnknownCa => Self::UnknownCa,
            Failure::Expired { .. } => Self::CertificateExpired,
            Failure::NotYetValid { .. } => Self::CertificateNotYetValid,
            Failure::WrongUsage => Self::CertificateWrongUsage,
            Failure::NameMismatch => Self::CertificateNameMismatch,
            Failure::BadCertificate(_) => Self::CertificateInvalid,
            Failure::PeerAlert(_) => Self::PeerAlert,
            Failure::NoSharedParameters(_) => Self::NoSharedParameters,
            Failure::NotTls => Self::NotTls,
            Failure::Truncated => Self::TlsTruncated,
            Failure::TimedOut => Self::HandshakeTimeout,
            Failure::Io(error) => Self::from(error),
            Failure::Other(_) => Self::HandshakeFailed,
        }
    }
}

impl From<&sidering_net::Failure> for Reason {
    fn from(failure: &sidering_net::Failure) -> Self {
        use sidering_net::Failure;
        match failure {
            Failure::Refused => Self::ConnectRefused,
            Failure::Unreachable => Self::ConnectUnreachable,
            Failure::TimedOut => Self::ConnectTimeout,
            Failure::Reset => Self::ConnectionReset,
            Failure::Exhausted => Self::Exhausted,
            Failure::NotRedirected { .. } => Self::OwnPort,
            Failure::AddressInUse { .. }
            | Failure::AddressNotLocal { .. }
            | Failure::PermissionDenied { .. }
            | Failure::NotASocket { .. }
            | Failure::DriverUnavailable { .. }
            | Failure::Pinning { .. }
            | Failure::WorkerPanicked { .. }
            | Failure::Os(_) => Self::OsError,
        }
    }
}

impl From<&Malformed> for Reason {
    fn from(malformed: &Malformed) -> Self {
        match malformed {
            Malformed::HeadTooLarge { .. }
            | Malformed::TooManyHeaders { .. }
            | Malformed::TrailersTooLarge { .. } => Self::HeadersTooLarge,
            Malformed::HeadTimeout => Self::RequestTimeout,
            Malformed::Version => Self::UnsupportedVersion,
            Malformed::Connect | Malformed::TransferEncoding => Self::NotImplemented,
            Malformed::StartLine
            | Malformed::Method
            | Malformed::Target
            | Malformed::LineEnding
            | Malformed::HeaderName
            | Malformed::HeaderValue
            | Malformed::FoldedLine
            | Malformed::HostMissing
            | Malformed::HostRepeated
            | Malformed::Host
            | Malformed::ContentLength
            | Malformed::LengthAndEncoding
            | Malformed::EncodingNotAllowed
            | Malformed::Chunk
            | Malformed::ChunkLineTooLong { .. }
            | Malformed::Informational => Self::MalformedRequest,
        }
    }
}

impl Reason {
    /// What ended an exchange on the client's side.
    pub(crate) fn of_downstream(failure: &sidering_http::Failure) -> Self {
        use sidering_http::Failure;
        match failure {
            Failure::Malformed(malformed) => Self::from(malformed),
            Failure::TimedOut(_) => Self::RequestTimeout,
            Failure::Io(error) => Self::of_downstream_io(error),
            Failure::Closed | Failure::Truncated | Failure::BodyLength | Failure::Aborted => {
                Self::DownstreamClosed
            }
        }
    }

    /// What ended an exchange on the server's side.
    pub(crate) fn of_upstream(failure: &sidering_http::Failure) -> Self {
        use sidering_http::Failure;
        match failure {
            Failure::Malformed(_) => Self::MalformedResponse,
            Failure::TimedOut(_) => Self::UpstreamTimeout,
            Failure::Io(error) => Self::from(error),
            Failure::Closed | Failure::Truncated | Failure::BodyLength | Failure::Aborted => {
                Self::UpstreamClosed
            }
        }
    }

    /// A client that is gone is gone, however the operating system words it; what TLS says is told apart.
    pub(crate) fn of_downstream_io(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<sidering_tls::Failure>()) {
            Some(failure) => Self::from(failure),
            None => Self::DownstreamClosed,
        }
    }
}

/// A stream's error: TLS below it may have put its own failure inside.
impl From<&std::io::Error> for Reason {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        if let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<sidering_tls::Failure>())
        {
            return Self::from(failure);
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::ConnectRefused,
            ErrorKind::TimedOut => Self::ConnectTimeout,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                Self::ConnectionReset
            }
            // `ErrorKind` is open: whatever else the operating system says is its own business.
            _ => Self::OsError,
        }
    }
}
