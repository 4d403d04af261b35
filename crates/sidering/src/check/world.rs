//! The mesh that a test takes place in: its resources, and what becomes of them for a workload.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sidering_istio::{
    CaptureListeners, Diagnostic, Effective, Inline, MeshConfig, Node, Resources, Source, Workload, compile,
    parse_with,
};
use sidering_policy::{Position, Snapshot};

use super::Answer;
use super::suite::{Suite, Test};

/// Where captured traffic arrives, as in every Istio sidecar.
const INBOUND: u16 = 15006;
const OUTBOUND: u16 = 15001;

/// Stands in for every certificate and key that a rule names: nothing is connected to.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n\
    -----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

pub(super) struct World {
    pub(super) resources: Resources,
    mesh: MeshConfig,
}

impl World {
    pub(super) fn of(suite: &Suite<'_>, test: &Test<'_>) -> Result<Self, String> {
        let sources: Vec<Source<'_>> =
            suite.included.iter().map(|(file, text)| Source { file: file.as_str().into(), text }).collect();
        let inline: Vec<Inline<'_>> = suite
            .objects
            .iter()
            .chain(&test.objects)
            .map(|node| Inline { file: suite.file.clone(), node })
            .collect();
        let (resources, diagnostics) = parse_with(&sources, &inline);
        let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        if errors.is_empty() { Ok(Self { resources, mesh: test.mesh.clone() }) } else { Err(lines(&errors)) }
    }

    pub(super) fn effective(&self, workload: &Workload) -> Effective {
        Effective::of(&self.resources, &self.mesh, workload)
    }
}

/// The Snapshot of a sidecar whose traffic is captured.
pub(super) fn snapshot(effective: &Effective) -> Result<Snapshot, String> {
    let at = |port: u16| {
        let position = Position { file: "check".into(), line: 1, column: 1 };
        Some((SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), position))
    };
    let capture = CaptureListeners { inbound: at(INBOUND), outbound: at(OUTBOUND) };
    compile(effective, &capture, &file).map_err(|errors| lines(&errors))
}

/// What a file would hold.
#[expect(clippy::unnecessary_wraps, reason = "the compiler asks for files, and here all are there")]
pub(super) fn file(_: &Path) -> Result<Vec<u8>, String> {
    Ok(PEM.to_vec())
}

pub(super) fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The question about a resource itself.
pub(super) fn validate(file: &Arc<str>, object: &Node) -> Answer {
    let (_, diagnostics) = parse_with(&[], &[Inline { file: file.clone(), node: object }]);
    let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics.iter().partition(|one| one.is_error());
    let messages: Vec<Value> = errors.iter().map(|one| json!(one.message)).collect();
    let actual = Map::from_iter([
        ("valid".to_owned(), json!(errors.is_empty())),
        ("warnings".to_owned(), json!(!warnings.is_empty())),
        ("errors".to_owned(), Value::Array(messages)),
    ]);
    Answer { actual, origin: diagnostics.first().map(ToString::to_string) }
}
