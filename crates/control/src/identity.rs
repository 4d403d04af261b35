//! Where this workload's credentials come from: PEM files that somebody else renews, or the embedded CA.

mod embedded;
mod files;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use sidering_identity::Credentials;

use crate::ca::CaFailure;

pub use embedded::EmbeddedCaIdentity;
pub use files::FileIdentity;

/// Hands credentials to the data path, which may refuse them; blocking, called off the control runtime's thread.
pub type PublishCredentials = Arc<dyn Fn(Credentials) -> Result<u64, String> + Send + Sync>;

/// What a source tells after every look at its files.
#[derive(Clone, Debug)]
pub enum IdentityReport {
    /// These are in use.
    Rotated(Credentials),
    /// The last good ones stay in use; this is why.
    Stale(String),
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFailure {
    /// A file is missing, unreadable or not what it should be.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what should be there.
        problem: String,
    },
    /// Both are sound, but the key belongs to another certificate.
    #[error("{key} does not fit {certificate}: the key belongs to another certificate")]
    Mismatch {
        /// The private key's file.
        key: String,
        /// The certificate's file.
        certificate: String,
    },
    /// The embedded CA failed.
    #[error(transparent)]
    Ca(#[from] CaFailure),
    /// The data path refused them.
    #[error("refused: {0}")]
    Refused(String),
}

/// Publishes off this thread.
async fn publish(
    credentials: Credentials,
    publish: &PublishCredentials,
) -> Result<Credentials, IdentityFailure> {
    let (publish, offered) = (Arc::clone(publish), credentials.clone());
    let answer =
        tokio::task::spawn_blocking(move || publish(offered)).await.expect("publishing does not panic");
    answer.map_err(IdentityFailure::Refused)?;
    Ok(credentials)
}
