//! BoringSSL's errors in our words: the same for the same fault as with rustls.

use std::ffi::c_int;
use std::time::{Duration, SystemTime};

use boring::error::ErrorStack;
use boring::ssl::{Error, ErrorCode, SslRef};
use boring::x509::{X509VerifyError, X509VerifyResult};
use sidering_identity::{Leaf, read_leaf};

use crate::{Alert, Failure};

/// A reason from here on is a received alert (`SSL_AD_REASON_OFFSET`).
const ALERTS: c_int = boring_sys::SSL_AD_REASON_OFFSET;

pub(super) fn from_boring(error: &Error, ssl: &SslRef) -> Failure {
    let Some(stack) = error.ssl_error() else {
        return match error.code() {
            ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN => Failure::Truncated,
            _ => Failure::Other(error.to_string()),
        };
    };
    match reason(stack) {
        boring_sys::SSL_R_CERTIFICATE_VERIFY_FAILED => from_verification(ssl.verify_result(), ssl),
        boring_sys::SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE => Failure::NoCertificate,
        boring_sys::SSL_R_WRONG_VERSION_NUMBER
        | boring_sys::SSL_R_HTTP_REQUEST
        | boring_sys::SSL_R_HTTPS_PROXY_REQUEST => Failure::NotTls,
        boring_sys::SSL_R_NO_SHARED_CIPHER
        | boring_sys::SSL_R_NO_SHARED_GROUP
        | boring_sys::SSL_R_NO_COMMON_SIGNATURE_ALGORITHMS
        | boring_sys::SSL_R_UNSUPPORTED_PROTOCOL => Failure::NoSharedParameters(stack.to_string()),
        alert if (ALERTS..ALERTS + 256).contains(&alert) => {
            Failure::PeerAlert(Alert(u8::try_from(alert - ALERTS).unwrap_or(u8::MAX)))
        }
        _ => Failure::Other(stack.to_string()),
    }
}

/// What TLS makes of it; the libraries below may have said why before.
fn reason(stack: &ErrorStack) -> c_int {
    let of_tls = |error: &&boring::error::Error| error.library() == Some("SSL routines");
    stack.errors().iter().find(of_tls).map_or(0, boring::error::Error::reason_code)
}

fn from_verification(result: X509VerifyResult, ssl: &SslRef) -> Failure {
    let Err(error) = result else { return Failure::BadCertificate("it was not verified".into()) };
    match error {
        X509VerifyError::CERT_HAS_EXPIRED => Failure::Expired { by: away(ssl, |leaf, now| now - leaf.not_after) },
        X509VerifyError::CERT_NOT_YET_VALID => {
            Failure::NotYetValid { by: away(ssl, |leaf, now| leaf.not_before - now) }
        }
        X509VerifyError::INVALID_PURPOSE => Failure::WrongUsage,
        X509VerifyError::HOSTNAME_MISMATCH | X509VerifyError::IP_ADDRESS_MISMATCH => Failure::NameMismatch,
        X509VerifyError::UNABLE_TO_GET_ISSUER_CERT
        | X509VerifyError::UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | X509VerifyError::UNABLE_TO_VERIFY_LEAF_SIGNATURE
        | X509VerifyError::DEPTH_ZERO_SELF_SIGNED_CERT
        | X509VerifyError::SELF_SIGNED_CERT_IN_CHAIN
        // A root of the same name and another key: rustls calls its leaves those of an unknown issuer too.
        | X509VerifyError::CERT_SIGNATURE_FAILURE
        | X509VerifyError::CERT_UNTRUSTED => Failure::UnknownCa,
        other => Failure::BadCertificate(other.to_string()),
    }
}

/// How many seconds the leaf's limit is passed by; zero where it is an issuer's limit that was passed.
fn away(ssl: &SslRef, passed: fn(&Leaf, i64) -> i64) -> Duration {
    let leaf =
        ssl.peer_certificate().and_then(|leaf| leaf.to_der().ok()).and_then(|der| read_leaf(&der).ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let seconds = leaf.map_or(0, |leaf| passed(&leaf, now));
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
