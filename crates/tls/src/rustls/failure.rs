//! rustls's errors in our words.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};

use crate::{Alert, Failure};

pub(super) fn from_rustls(error: Error) -> Failure {
    match error {
        Error::NoCertificatesPresented => Failure::NoCertificate,
        Error::InvalidCertificate(error) => from_certificate(error),
        Error::AlertReceived(alert) => Failure::PeerAlert(Alert(alert.into())),
        Error::PeerIncompatible(why) => Failure::NoSharedParameters(format!("{why:?}")),
        Error::NoApplicationProtocol => Failure::NoSharedParameters("application protocol".into()),
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Failure::NotTls,
        other => Failure::Other(other.to_string()),
    }
}

fn from_certificate(error: CertificateError) -> Failure {
    let since = |earlier: UnixTime, later: UnixTime| {
        Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs()))
    };
    match error {
        // The latter: a root of the right name with another key, as after a new CA under the old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Failure::UnknownCa,
        CertificateError::ExpiredContext { time, not_after } => {
            Failure::Expired { by: since(not_after, time) }
        }
        CertificateError::Expired => Failure::Expired { by: Duration::ZERO },
        CertificateError::NotValidYetContext { time, not_before } => {
            Failure::NotYetValid { by: since(time, not_before) }
        }
        CertificateError::NotValidYet => Failure::NotYetValid { by: Duration::ZERO },
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Failure::WrongUsage
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Failure::NameMismatch
        }
        other => Failure::BadCertificate(other.to_string()),
    }
}
