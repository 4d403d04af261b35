//! What both backends ask of a leaf besides its chain.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sidering_identity::{SanError, read_leaf};

use crate::Failure;

/// Is one of `names`, byte for byte, among the certificate's URI or DNS names?
pub(crate) fn presents_any(der: &[u8], names: &[Arc<str>]) -> Result<bool, SanError> {
    let leaf = read_leaf(der)?;
    Ok(leaf.uris.iter().chain(&leaf.dns).any(|presented| names.iter().any(|name| **name == **presented)))
}

/// A resumed session does not verify the chain again, but a leaf that has ended since ends it too.
pub(crate) fn still_valid(der: &[u8]) -> Result<(), Failure> {
    let leaf = read_leaf(der).map_err(|error| Failure::BadCertificate(error.to_string()))?;
    let end = u64::try_from(leaf.not_after).unwrap_or(0);
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(end)) {
        Ok(by) if !by.is_zero() => Err(Failure::Expired { by }),
        _ => Ok(()),
    }
}
