//! Credentials from the embedded CA: issued at start, and again at half of their life, so that a failed renewal has
//! the other half to be noticed in.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sidering_identity::{Credentials, SpiffeId};
use tokio::time::sleep;

use super::{IdentityFailure, IdentityReport, PublishCredentials, publish};
use crate::ca::{CertificateAuthority, LEAF_LIFETIME, Validity};
use crate::quiet::{self, Fingerprint, Unreadable};
use crate::reload::Reloads;
use crate::watch::Watch;

/// Longest sleep before the clock is read again: a machine that was suspended renews soon after it wakes.
const NAP: Duration = Duration::from_secs(60);

/// Leaves for one workload from the CA in a directory.
pub struct EmbeddedCaIdentity {
    directory: PathBuf,
    id: SpiffeId,
    dns: Vec<String>,
    lifetime: Duration,
    version: u64,
    renew_at: SystemTime,
    roots: Option<Result<Fingerprint, Unreadable>>,
}

impl EmbeddedCaIdentity {
    /// For `id`, from `directory`, which `sidering ca init` made.
    pub fn new(directory: PathBuf, id: SpiffeId) -> Self {
        let (lifetime, renew_at) = (LEAF_LIFETIME, SystemTime::now());
        Self { directory, id, dns: Vec::new(), lifetime, version: 0, renew_at, roots: None }
    }

    /// Life of each leaf.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Further DNS names in each leaf.
    pub fn dns(self, dns: Vec<String>) -> Self {
        Self { dns, ..self }
    }

    /// Issues a leaf now.
    ///
    /// # Errors
    /// [`IdentityFailure::Ca`].
    pub async fn load(&mut self) -> Result<Credentials, IdentityFailure> {
        self.roots = Some(quiet::fingerprint(&self.paths()));
        let (directory, id, dns, lifetime) =
            (self.directory.clone(), self.id.clone(), self.dns.clone(), self.lifetime);
        let issue = move || {
            let ca = CertificateAuthority::open(&directory)?;
            let issued = ca.issue(&id, &dns, Validity::lasting(lifetime))?;
            Ok::<_, IdentityFailure>((issued.chain, Arc::clone(ca.bundle())))
        };
        let (chain, bundle) = tokio::task::spawn_blocking(issue).await.expect("issuing does not panic")?;
        self.renew_at = SystemTime::now() + half_of(self.lifetime);
        self.version += 1;
        let source = format!("embeddedCa {}", self.directory.display()).into();
        Ok(Credentials { version: self.version, chain: Arc::new(chain), bundle, source })
    }

    /// Renews for ever: at half of the leaf's life, when the CA's files change, and when asked. Call after a first
    /// [`EmbeddedCaIdentity::load`].
    pub async fn run(
        mut self,
        publish_credentials: PublishCredentials,
        mut report: impl FnMut(IdentityReport),
        mut reloads: Reloads,
    ) {
        let mut watch = Watch::new();
        loop {
            watch.follow(self.paths().iter().map(PathBuf::as_path));
            let until = self.renew_at.duration_since(SystemTime::now()).unwrap_or_default();
            let asked = tokio::select! {
                () = sleep(until.min(NAP)) => None,
                () = watch.stirred() => None,
                asked = reloads.asked() => Some(asked),
            };
            let due = SystemTime::now() >= self.renew_at;
            if asked.is_none() && !due && self.roots.as_ref() == Some(&quiet::fingerprint(&self.paths())) {
                continue;
            }
            let rotated = match self.load().await {
                Ok(credentials) => publish(credentials, &publish_credentials).await,
                Err(failure) => Err(failure),
            };
            report(match rotated {
                Ok(credentials) => IdentityReport::Rotated(credentials),
                Err(failure) => {
                    // Again soon, while there is life left in the old leaf.
                    self.renew_at = SystemTime::now() + (self.lifetime / 20).min(NAP);
                    IdentityReport::Stale(failure.to_string())
                }
            });
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.directory.join("ca.pem"), self.directory.join("ca.key")]
    }
}

/// Half, give or take a tenth of it, so that sidecars started together do not renew together.
fn half_of(lifetime: Duration) -> Duration {
    let entropy = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    lifetime.mul_f64(0.45 + 0.1 * entropy)
}
