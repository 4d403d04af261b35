//! What each lower crate says, as a reason. No `_` arm: whatever a crate learns to say needs a decision here.

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

/// A stream's error: TLS below it may have put its own failure inside.
impl From<&std::io::Error> for Reason {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        if let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<sidering_tls::Failure>()) {
            return Self::from(failure);
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::ConnectRefused,
            ErrorKind::TimedOut => Self::ConnectTimeout,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Self::ConnectionReset,
            // `ErrorKind` is open: whatever else the operating system says is its own business.
            _ => Self::OsError,
        }
    }
}
