//! From `Effective` to the Snapshot: listeners and chains, clusters, virtual hosts, rules.

mod cluster;
mod files;
mod inbound;
mod outbound;
mod route;
mod rules;
mod warnings;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sidering_identity::{Bundle, SpiffeId};
use sidering_policy::{BindAddress, Cluster, Listener, Map, Origin, Position, Snapshot, UpstreamTls};

use crate::effective::Sum;
use crate::{Diagnostic, Effective};

/// The capture listeners of the bootstrap file, each with its line there. Without one, Sidecar resources bind their own
/// listeners.
#[derive(Clone, Debug, Default)]
pub struct CaptureListeners {
    /// `listeners.inbound`, such as 0.0.0.0:15006.
    pub inbound: Option<(SocketAddr, Position)>,
    /// `listeners.outbound`, such as 0.0.0.0:15001.
    pub outbound: Option<(SocketAddr, Position)>,
}

/// Makes the Snapshot; its version is the publisher's to set. `files` reads what DestinationRules name (certificates,
/// keys).
///
/// # Errors
/// Error-level diagnostics: a file that cannot be read, a listener that cannot be made.
pub fn compile(
    effective: &Effective,
    capture: &CaptureListeners,
    files: &dyn Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Snapshot, Vec<Diagnostic>> {
    let mut compiler = Compiler::new(effective, capture, files);
    let identity = compiler.identity();
    compiler.inbound();
    compiler.outbound();
    compiler.excess();
    if !compiler.diagnostics.is_empty() {
        compiler.diagnostics.sort();
        compiler.diagnostics.dedup();
        return Err(compiler.diagnostics);
    }
    let warnings = compiler.warnings();
    Ok(Snapshot {
        listeners: compiler.listeners.into_iter().map(Arc::new).collect(),
        clusters: compiler.clusters,
        identity,
        trust_domains: effective.mesh.trust_domains().into(),
        path_normalization: effective.mesh.path_normalization,
        warnings,
        ..Snapshot::default()
    })
}

/// How a host, a subset and a service port are dialled.
#[derive(Clone, Debug)]
pub struct Dialled {
    /// What the Snapshot of a route to it holds.
    pub cluster: Arc<Cluster>,
    /// TLS towards endpoints that support it; `None` is plaintext to all.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// The cluster that a route to this host, subset and service port gets, with or without such a route. `None`: there is
/// none, because service, port or subset are not declared.
///
/// # Errors
/// As [`compile`].
pub fn dialled(
    effective: &Effective,
    host: &str,
    subset: Option<&str>,
    port: u16,
    files: &dyn Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Option<Dialled>, Vec<Diagnostic>> {
    let capture = CaptureListeners::default();
    let mut compiler = Compiler::new(effective, &capture, files);
    let name = compiler.cluster(host, subset, port);
    let tls = compiler.tls_of(host, subset, port);
    compiler.excess();
    if !compiler.diagnostics.is_empty() {
        compiler.diagnostics.dedup();
        return Err(compiler.diagnostics);
    }
    Ok(compiler.clusters.remove(&name).map(|cluster| Dialled { cluster, tls }))
}

struct Compiler<'e> {
    effective: &'e Effective,
    capture: &'e CaptureListeners,
    files: &'e dyn Fn(&Path) -> Result<Vec<u8>, String>,
    clusters: Map<Arc<str>, Arc<Cluster>>,
    listeners: Vec<Listener>,
    /// Roots that were read, by path.
    bundles: HashMap<Arc<Path>, Arc<Bundle>>,
    sum: Sum,
    diagnostics: Vec<Diagnostic>,
}

impl<'e> Compiler<'e> {
    fn new(
        effective: &'e Effective,
        capture: &'e CaptureListeners,
        files: &'e dyn Fn(&Path) -> Result<Vec<u8>, String>,
    ) -> Self {
        Self {
            effective,
            capture,
            files,
            clusters: Map::default(),
            listeners: Vec::new(),
            bundles: HashMap::new(),
            sum: Sum::default(),
            diagnostics: Vec::new(),
        }
    }
}

impl Compiler<'_> {
    fn error(&mut self, position: &Position, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(position.clone(), message));
    }

    /// Counts what is about to be made. `None`: it is too much, and the diagnostics will say where.
    fn multiplies(&mut self, more: usize, origin: &Origin) -> Option<()> {
        self.sum.takes(more, || origin.clone()).then_some(())
    }

    fn excess(&mut self) {
        let declared = self.effective.declared.excess().map(|origin| (origin, "with this, hosts and selectors multiply to more than 1,000,000 endpoints, addresses and ports; list fewer hosts, or select fewer workloads"));
        let compiled = self.sum.excess().map(|origin| (origin, "with this, hosts, ports and subsets multiply to more than 1,000,000 clusters, endpoints, names, routes, matches and header edits; let a Sidecar's egress name the hosts that this workload needs"));
        if let Some((origin, message)) = declared.or(compiled) {
            let position = position_of(origin);
            self.error(&position, message);
        }
    }

    fn identity(&mut self) -> Option<SpiffeId> {
        let workload = &self.effective.workload;
        let account =
            if workload.service_account.is_empty() { "default" } else { &*workload.service_account };
        match SpiffeId::of_account(&self.effective.mesh.trust_domain, &workload.namespace, account) {
            Ok(id) => Some(id),
            Err(error) => {
                let position = Position { file: "workload".into(), line: 1, column: 1 };
                self.error(
                    &position,
                    format!("namespace and serviceAccount of the workload make no SPIFFE id: {error}"),
                );
                None
            }
        }
    }

    /// Takes a listener, unless its address is taken.
    fn listen(&mut self, listener: Listener) {
        let taken = self.listeners.iter().find(|other| other.bind == listener.bind);
        match taken.map(|other| other.origin.to_string()) {
            Some(other) => {
                let position = position_of(&listener.origin);
                self.error(
                    &position,
                    format!("{} is already bound by {other}; use another port or bind", listener.name),
                );
            }
            None => self.listeners.push(listener),
        }
    }
}

/// A key of the bootstrap file as what made a listener.
fn bootstrap_key(key: &str, position: &Position) -> Origin {
    Origin { kind: "bootstrap".into(), name: key.into(), rule: None, position: Some(position.clone()) }
}

/// Where a resource is written. What has no line of its own, the bootstrap file asked for.
fn position_of(origin: &Origin) -> Position {
    origin.position.clone().unwrap_or_else(|| Position { file: "bootstrap".into(), line: 1, column: 1 })
}

/// `127.0.0.1_8080`, as Istio names listeners, or the path of a Unix socket.
fn listener_name(bind: &BindAddress) -> Arc<str> {
    match bind {
        BindAddress::Tcp(address) => format!("{}_{}", address.ip(), address.port()).into(),
        BindAddress::Unix(path) => path.display().to_string().into(),
    }
}

#[cfg(test)]
mod tests;
