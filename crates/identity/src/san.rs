//! Reads the raw GeneralNames of a leaf (RFC 5280 4.2.1.6). Strict: a name that could mean two things means none.

use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::subject;

/// What identity checks and people need of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// URI names, in order.
    pub uris: Vec<String>,
    /// DNS names, in order.
    pub dns: Vec<String>,
    /// The serial number, upper-case hex without separators.
    pub serial: String,
    /// The subject, RFC 4514 text; for XFCC and for people.
    pub subject: String,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
}

/// Why a leaf could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SanError {
    /// Not a certificate.
    #[error("not a DER certificate: {0}")]
    Certificate(String),
    /// A name with a NUL or another control character, or not IA5: no such name is ever believed.
    #[error("a subject alternative name has a control or non-ASCII character")]
    Character,
}

/// Parses a DER certificate and its subject alternative names.
///
/// # Errors
/// [`SanError`] when the DER is no certificate, or any URI or DNS name has a control or non-ASCII character.
pub fn read_leaf(der: &[u8]) -> Result<Leaf, SanError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(certificate_error)?;
    if !rest.is_empty() {
        return Err(SanError::Certificate("bytes after its end".into()));
    }
    let mut leaf = Leaf {
        uris: Vec::new(),
        dns: Vec::new(),
        serial: serial(certificate.raw_serial()),
        subject: subject::rfc4514(certificate.subject()),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    };
    // Twice the same extension is an error: which of the two was meant?
    if let Some(extension) =
        certificate.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME).map_err(certificate_error)?
    {
        read_names(extension.value, &mut leaf)?;
    }
    Ok(leaf)
}

fn read_names(value: &[u8], leaf: &mut Leaf) -> Result<(), SanError> {
    let (rest, names) = SubjectAlternativeName::from_der(value).map_err(certificate_error)?;
    if !rest.is_empty() {
        return Err(SanError::Certificate("bytes after the subject alternative names".into()));
    }
    for name in names.general_names {
        match name {
            GeneralName::URI(uri) => leaf.uris.push(printable(uri)?),
            GeneralName::DNSName(dns) => leaf.dns.push(printable(dns)?),
            GeneralName::Invalid(..) => return Err(SanError::Character),
            // Nothing else is ever an identity, least of all an otherName that looks like one.
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    Ok(())
}

fn printable(name: &str) -> Result<String, SanError> {
    match name.bytes().all(|b| matches!(b, b' '..=b'~')) {
        true => Ok(name.to_owned()),
        false => Err(SanError::Character),
    }
}

fn serial(bytes: &[u8]) -> String {
    let significant = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    significant.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn certificate_error(error: impl std::fmt::Display) -> SanError {
    SanError::Certificate(error.to_string())
}

#[cfg(test)]
mod tests;
