//! Reads the raw GeneralNames of a leaf (RFC 5280 4.2.1.6). Strict: a name that could mean two things means none.

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
    let _ = der;
    Err(SanError::Certificate("not yet".into()))
}
