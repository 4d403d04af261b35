//! Credentials from PEM files that an agent, cert-manager or an operator renews: renamed into place, swapped by
//! symbolic link, or written one after the other. A pair that does not match yet is refused and the old one stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sidering_identity::{Bundle, Credentials};

use super::{IdentityFailure, IdentityReport, PublishCredentials, publish};
use crate::pem::{self, PairProblem};
use crate::quiet::{self, Fingerprint, QUIET, Unreadable};
use crate::reload::{Reloads, Retry};
use crate::watch::Watch;

/// Three files.
pub struct FileIdentity {
    certificate: PathBuf,
    private_key: PathBuf,
    trust_bundle: PathBuf,
    quiet: Duration,
    version: u64,
    seen: Option<Result<Fingerprint, Unreadable>>,
}

impl FileIdentity {
    /// `certificate` holds the chain, leaf first; `trust_bundle` one or more roots.
    pub fn new(certificate: PathBuf, private_key: PathBuf, trust_bundle: PathBuf) -> Self {
        Self { certificate, private_key, trust_bundle, quiet: QUIET, version: 0, seen: None }
    }

    /// How long the files must have been left alone before they count; [`QUIET`] unless told otherwise.
    pub fn quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// Reads and checks the three files.
    ///
    /// # Errors
    /// [`IdentityFailure::File`] and [`IdentityFailure::Mismatch`].
    pub async fn load(&mut self) -> Result<Credentials, IdentityFailure> {
        let read = quiet::read(self.paths(), self.quiet).await;
        self.seen = Some(read.as_ref().map(|files| files.fingerprint.clone()).map_err(Clone::clone));
        let files = read.map_err(|Unreadable { path, problem }| IdentityFailure::File { path, problem })?;
        let [certificate, key, bundle] = [0, 1, 2].map(|index| files.contents[index].1.as_slice());
        let chain = pem::chain(certificate, key).map_err(|problem| self.blame(problem))?;
        let roots = pem::certificates(bundle)
            .map_err(|problem| IdentityFailure::File { path: self.trust_bundle.clone(), problem })?;
        self.version += 1;
        Ok(Credentials {
            version: self.version,
            chain: Arc::new(chain),
            bundle: Arc::new(Bundle { roots }),
            source: self.certificate.display().to_string().into(),
        })
    }

    /// Publishes every change of the files for ever. Call after a first [`FileIdentity::load`].
    pub async fn run(
        mut self,
        publish_credentials: PublishCredentials,
        mut report: impl FnMut(IdentityReport),
        mut reloads: Reloads,
    ) {
        let mut watch = Watch::new();
        let mut retry = Retry::default();
        loop {
            watch.follow(self.paths().iter().map(PathBuf::as_path));
            let asked = tokio::select! {
                () = watch.stirred() => None,
                asked = reloads.asked() => Some(asked),
                () = retry.due() => {
                    self.seen = None;
                    None
                }
            };
            if asked.is_none() && self.seen.as_ref() == Some(&quiet::fingerprint(&self.paths())) {
                continue;
            }
            let rotated = match self.load().await {
                Ok(credentials) => publish(credentials, &publish_credentials).await,
                Err(failure) => Err(failure),
            };
            retry.note(rotated.is_err());
            report(match rotated {
                Ok(credentials) => IdentityReport::Rotated(credentials),
                Err(failure) => IdentityReport::Stale(failure.to_string()),
            });
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.private_key.clone(), self.trust_bundle.clone()]
    }

    fn blame(&self, problem: PairProblem) -> IdentityFailure {
        match problem {
            PairProblem::Certificate(problem) => {
                IdentityFailure::File { path: self.certificate.clone(), problem }
            }
            PairProblem::Key(problem) => IdentityFailure::File { path: self.private_key.clone(), problem },
            PairProblem::Mismatch => IdentityFailure::Mismatch {
                key: self.private_key.display().to_string(),
                certificate: self.certificate.display().to_string(),
            },
        }
    }
}
