//! A mesh as its files say it, for questions that no sidecar is asked: its resources, and what becomes of them for a
//! workload. Used by `check` and by `explain --offline`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use sidering_identity::Leaf;
use sidering_istio::{
    CaptureListeners, Diagnostic, Effective, Inline, MeshConfig, Resources, Source, Workload, compile,
    parse_with,
};
use sidering_policy::{ClientCertificate, Position, Snapshot, Trust, UpstreamTls};

/// Where captured traffic arrives, as in every Istio sidecar.
const INBOUND: u16 = 15006;
const OUTBOUND: u16 = 15001;
/// The listeners that take it.
pub(crate) const CAPTURED_INBOUND: &str = "virtualInbound";
pub(crate) const CAPTURED_OUTBOUND: &str = "virtualOutbound";

/// Stands in for every certificate and key that a rule names: nothing is connected to.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n\
    -----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

/// Resources and the mesh's settings.
pub(crate) struct World {
    pub(crate) resources: Resources,
    pub(crate) mesh: MeshConfig,
}

impl World {
    /// # Errors
    /// A line for each error in the resources.
    pub(crate) fn of(
        files: &[(String, String)],
        inline: &[Inline<'_>],
        mesh: MeshConfig,
    ) -> Result<Self, String> {
        let sources: Vec<Source<'_>> =
            files.iter().map(|(file, text)| Source { file: file.as_str().into(), text }).collect();
        let (resources, diagnostics) = parse_with(&sources, inline);
        let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        if errors.is_empty() { Ok(Self { resources, mesh }) } else { Err(lines(&errors)) }
    }

    pub(crate) fn effective(&self, workload: &Workload) -> Effective {
        Effective::of(&self.resources, &self.mesh, workload)
    }
}

/// The Snapshot of a sidecar whose traffic is captured.
pub(crate) fn snapshot(effective: &Effective) -> Result<Snapshot, String> {
    let at = |port: u16| {
        let position = Position { file: "check".into(), line: 1, column: 1 };
        Some((SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), position))
    };
    let capture = CaptureListeners { inbound: at(INBOUND), outbound: at(OUTBOUND) };
    compile(effective, &capture, &file).map_err(|errors| lines(&errors))
}

/// What a file would hold.
#[expect(clippy::unnecessary_wraps, reason = "the compiler asks for files, and here all are there")]
pub(crate) fn file(_: &Path) -> Result<Vec<u8>, String> {
    Ok(PEM.to_vec())
}

pub(crate) fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A certificate with that URI name and nothing else that would be asked for.
pub(crate) fn certificate(uri: String) -> Leaf {
    Leaf {
        uris: vec![uri],
        dns: Vec::new(),
        serial: String::new(),
        subject: String::new(),
        not_before: 0,
        not_after: 0,
    }
}

/// As DestinationRules call it.
pub(crate) fn tls_mode(tls: Option<&UpstreamTls>) -> &'static str {
    match tls.map(|tls| (&tls.trust, &tls.certificate)) {
        None => "DISABLE",
        Some((Trust::Mesh, _)) => "ISTIO_MUTUAL",
        Some((_, ClientCertificate::None)) => "SIMPLE",
        Some(_) => "MUTUAL",
    }
}
