//! The bootstrap file: who this sidecar is and where everything else comes from. `raw` is the file as written; this is
//! what it means, with every path resolved. Read once at start; what may change meanwhile is in the resources.

mod raw;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};
use sidering_control::identity::{EmbeddedCaIdentity, FileIdentity};
use sidering_control::{ResourceInputs, read_file};
use sidering_identity::{SpiffeId, TrustDomain};
use sidering_istio::{CaptureListeners, Diagnostic, MeshConfig, Source, Workload};
use sidering_net::{DriverChoice, Pin};
use sidering_policy::Position;
use sidering_proxy::AccessLog;
use sidering_tls::Backend;

use crate::failure::Failure;
use raw::{HostPort, Loopback};

/// A bootstrap file that makes sense.
pub(crate) struct Bootstrap {
    /// Resources, mesh settings, workload.
    pub resources: ResourceInputs,
    /// Who this workload is meant to be: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub id: SpiffeId,
    /// Where its credentials come from.
    pub identity: Identity,
    /// The TLS library.
    pub backend: Backend,
    /// How cores wait.
    pub driver: DriverChoice,
    /// At least 1.
    pub workers: usize,
    /// On which CPUs.
    pub pin: Pin,
    /// Where the operator asks.
    pub admin: Admin,
    /// The access log, if any.
    pub access_log: Option<AccessLog>,
    /// How long a drain may take.
    pub drain_time: Duration,
    /// What the operator should know, a line each.
    pub warnings: Vec<String>,
}

/// The two sources there are.
pub(crate) enum Identity {
    Files(FileIdentity),
    EmbeddedCa(EmbeddedCaIdentity),
}

/// Addresses of the control thread, each with its line in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admin {
    /// Everything, to this user only.
    pub socket: Option<(PathBuf, Position)>,
    /// Reading, on loopback.
    pub address: Option<(SocketAddr, Position)>,
    /// `/stats/prometheus` only.
    pub stats: Option<(SocketAddr, Position)>,
    /// `/healthz/ready` only.
    pub readiness: Option<(SocketAddr, Position)>,
}

impl Bootstrap {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`Failure::Configuration`] with file, line, column, and what to write instead.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let content = content_of(path).map_err(Failure::Configuration)?;
        text_of(path, &content).and_then(|text| Self::parse(path, text)).map_err(Failure::Configuration)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let file = File { path, base: path.parent().unwrap_or(Path::new("")) };
        let raw: raw::Bootstrap = serde_saphyr::from_str(text).map_err(|error| file.describe(&error))?;
        let (mesh, warnings) = file.mesh(raw.mesh.as_ref(), text)?;
        let id = file.id(&raw.workload, &mesh.trust_domain)?;
        Ok(Self {
            identity: file.identity(&raw, &id)?,
            id,
            resources: ResourceInputs {
                paths: raw.resources.iter().map(|path| file.base.join(path)).collect(),
                workload: workload(raw.workload),
                mesh,
                capture: CaptureListeners {
                    inbound: raw.listeners.inbound.map(|at| file.placed(at, HostPort::address)),
                    outbound: raw.listeners.outbound.map(|at| file.placed(at, HostPort::address)),
                },
                base: file.base.to_owned(),
            },
            backend: file.backend(raw.tls.backend)?,
            driver: raw.runtime.driver.map_or(DriverChoice::Auto, |driver| driver.0),
            workers: raw.runtime.workers.0.0,
            pin: raw.runtime.pin.into(),
            admin: Admin {
                socket: raw.admin.socket.map(|at| file.placed(at, |path| file.base.join(path))),
                address: raw.admin.address.map(|at| file.placed(at, Loopback::address)),
                stats: raw.stats.map(|stats| file.placed(stats.address, HostPort::address)),
                readiness: raw.readiness.map(|readiness| file.placed(readiness.address, HostPort::address)),
            },
            access_log: raw
                .access_log
                .map(|log| AccessLog { path: file.base.join(log.path), format: log.format.into() }),
            drain_time: raw.termination_drain_duration.map_or(raw::DRAIN_TIME, |written| written.0.0),
            warnings,
        })
    }
}

/// The admin socket that a bootstrap file names, for the commands that ask a running sidecar.
///
/// # Errors
/// As [`Bootstrap::read`], and when it names none.
pub(crate) fn socket_of(config: &Path) -> Result<PathBuf, Failure> {
    let none = || {
        let message = format!("{}: no admin.socket; add `admin: {{socket: PATH}}`", config.display());
        Failure::Configuration(message)
    };
    Bootstrap::read(config)?.admin.socket.map(|(path, _)| path).ok_or_else(none)
}

fn content_of(path: &Path) -> Result<Vec<u8>, String> {
    let content = read_file(path).map_err(|error| format!("{}: {error}", path.display()));
    content.map(|mut content| std::mem::take(&mut *content))
}

fn text_of<'a>(path: &Path, content: &'a [u8]) -> Result<&'a str, String> {
    let source = Source::of(path.display().to_string().into(), content);
    source.map(|source| source.text).map_err(|diagnostic| diagnostic.to_string())
}

/// The file's name, and what its relative paths are relative to.
struct File<'a> {
    path: &'a Path,
    base: &'a Path,
}

impl File<'_> {
    /// An error of the parser or of a scalar's own check.
    fn describe(&self, error: &serde_saphyr::Error) -> String {
        let message = UserMessageFormatter.format_message(error.without_snippet());
        let advice = match &*message {
            "expected mapping start" => "expected a mapping, such as `{key: value}`",
            "expected sequence start" => "expected a list, such as `[one, another]`",
            other => other,
        };
        self.at(error.location(), advice)
    }

    fn at(&self, location: Option<Location>, message: &str) -> String {
        match location {
            Some(at) => format!("{}: {message}", self.position(at)),
            None => format!("{}: {message}", self.path.display()),
        }
    }

    fn position(&self, at: Location) -> Position {
        let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
        let file = self.path.display().to_string().into();
        Position { file, line: number(at.line()), column: number(at.column()) }
    }

    /// What a scalar means, and where it is written.
    fn placed<T, U>(&self, written: Spanned<T>, meaning: impl FnOnce(T) -> U) -> (U, Position) {
        (meaning(written.value), self.position(written.referenced))
    }

    fn mesh(&self, mesh: Option<&raw::Mesh>, text: &str) -> Result<(MeshConfig, Vec<String>), String> {
        let own = Source { file: self.path.display().to_string().into(), text };
        let (config, diagnostics) = match mesh {
            None | Some(raw::Mesh::Inline(_)) => MeshConfig::parse(&own, Some("mesh")),
            Some(raw::Mesh::File(path)) => {
                let path = self.base.join(path);
                let content = content_of(&path)?;
                let text = text_of(&path, &content)?;
                MeshConfig::parse(&Source { file: path.display().to_string().into(), text }, None)
            }
        };
        match diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
            Some(error) => Err(error.to_string()),
            None => Ok((config, diagnostics.iter().map(Diagnostic::to_string).collect())),
        }
    }

    fn id(&self, workload: &raw::Workload, domain: &TrustDomain) -> Result<SpiffeId, String> {
        let (namespace, account) = (&workload.namespace, &workload.service_account);
        SpiffeId::of_account(domain, &namespace.value, &account.value).map_err(|error| {
            let message = format!("namespace and serviceAccount make no SPIFFE id: {error}");
            self.at(Some(namespace.referenced), &message)
        })
    }

    fn identity(&self, raw: &raw::Bootstrap, id: &SpiffeId) -> Result<Identity, String> {
        match (&raw.identity.value.files, &raw.identity.value.embedded_ca) {
            (Some(files), None) => Ok(Identity::Files(FileIdentity::new(
                self.base.join(&files.certificate),
                self.base.join(&files.private_key),
                self.base.join(&files.trust_bundle),
            ))),
            (None, Some(ca)) => {
                let source = EmbeddedCaIdentity::new(self.base.join(&ca.directory), id.clone());
                let lifetime = ca.lifetime.map_or(sidering_control::ca::LEAF_LIFETIME, |written| written.0.0);
                Ok(Identity::EmbeddedCa(source.lifetime(lifetime).dns(ca.dns.clone())))
            }
            _ => {
                let message = "identity wants exactly one source: `files` or `embeddedCa`";
                Err(self.at(Some(raw.identity.referenced), message))
            }
        }
    }

    fn backend(&self, wanted: Option<raw::Parsed<Backend>>) -> Result<Backend, String> {
        let preferred = wanted.map(|backend| backend.0).or(Backend::compiled().first().copied());
        preferred.ok_or_else(|| "this binary was built without any TLS backend".to_owned())
    }
}

fn workload(raw: raw::Workload) -> Workload {
    Workload {
        name: raw.name.into(),
        namespace: raw.namespace.value.into(),
        service_account: raw.service_account.value.into(),
        labels: raw.labels,
        addresses: raw.addresses.into_iter().map(|address| address.0).collect(),
    }
}
