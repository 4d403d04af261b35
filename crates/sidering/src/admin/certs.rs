//! `/certs`: what we present, what we verify with, and until when.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sidering_identity::read_leaf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::state::Identity;

/// Credentials as shown: never a key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certs {
    version: u64,
    source: String,
    /// Why newer ones are not in use.
    problem: Option<String>,
    chain: Vec<Certificate>,
    roots: Vec<Certificate>,
}

/// One certificate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    subject: String,
    names: Vec<String>,
    serial: String,
    not_before: String,
    not_after: String,
    /// Negative once it has expired.
    pub(super) expires_in_seconds: i64,
}

impl Certs {
    pub(super) fn of(identity: &Identity) -> Self {
        let credentials = &identity.credentials;
        let read =
            |certificates: &[Vec<u8>]| certificates.iter().filter_map(|der| Certificate::of(der)).collect();
        Self {
            version: credentials.version,
            source: credentials.source.to_string(),
            problem: identity.problem.clone(),
            chain: read(&credentials.chain.certificates),
            roots: read(&credentials.bundle.roots),
        }
    }

    /// The names of the trust anchors.
    pub(super) fn roots(&self) -> Vec<String> {
        self.roots.iter().map(Certificate::name).collect()
    }

    /// Kind (`leaf`, `intermediate`, `root`), serial and seconds left: for the metrics.
    pub(super) fn expiries(&self) -> impl Iterator<Item = (&'static str, &str, i64)> {
        let kind = |index| if index == 0 { "leaf" } else { "intermediate" };
        let chain = self.chain.iter().enumerate().map(move |(index, certificate)| (kind(index), certificate));
        let roots = self.roots.iter().map(|root| ("root", root));
        chain
            .chain(roots)
            .map(|(kind, certificate)| (kind, certificate.serial.as_str(), certificate.expires_in_seconds))
    }

    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("credentials {} from {}", self.version, self.source)];
        lines.extend(self.problem.iter().map(|problem| format!("newer ones were refused: {problem}")));
        lines.extend(self.chain.iter().map(|certificate| certificate.line("presents")));
        lines.extend(self.roots.iter().map(|certificate| certificate.line("trusts")));
        lines.join("\n")
    }
}

impl Certificate {
    fn of(der: &[u8]) -> Option<Self> {
        let leaf = read_leaf(der).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Some(Self {
            names: leaf.uris.into_iter().chain(leaf.dns).collect(),
            subject: leaf.subject,
            serial: leaf.serial,
            not_before: rfc3339(leaf.not_before),
            not_after: rfc3339(leaf.not_after),
            expires_in_seconds: leaf.not_after.saturating_sub(now.cast_signed()),
        })
    }

    fn name(&self) -> String {
        match self.names.as_slice() {
            [] => self.subject.clone(),
            names => names.join(", "),
        }
    }

    fn line(&self, verb: &str) -> String {
        let name = self.name();
        let left = match self.expires_in_seconds {
            ..0 => "EXPIRED".to_owned(),
            seconds @ 0..7200 => format!("{} min left", seconds / 60),
            seconds @ 7200..172_800 => format!("{} h left", seconds / 3600),
            seconds => format!("{} days left", seconds / 86_400),
        };
        format!("{verb} {name}\n  serial {}, until {} ({left})", self.serial, self.not_after)
    }
}

fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}
