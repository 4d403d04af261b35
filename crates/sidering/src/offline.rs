//! `explain --offline`: a connection or request that has not been made, and what the files would have become of it, from
//! the client's sidecar to the server's. The Snapshots of both and their deciding functions answer, as in `check`.

mod report;
mod way;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidering_control::read_resources;
use sidering_identity::{SpiffeId, TrustDomain};
use sidering_istio::{Diagnostic, Effective, MeshConfig, Source, Workload};
use sidering_policy::{Asked, normalize_path, path_of};

use crate::bootstrap::Bootstrap;
use crate::cli::{Explain, Question};
use crate::failure::Failure;
use crate::world::World;
use way::ways;

/// Where nobody is (RFC 2544), so that nothing that is written is taken for it.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));

/// The question, with everything that the files say of who asks.
#[derive(Clone)]
struct Connection {
    id: SpiffeId,
    client: Workload,
    /// The client's.
    address: SocketAddr,
    /// As asked for.
    host: String,
    /// The service of that name; `None` where no resource that the client sees declares one.
    service: Option<Arc<str>>,
    port: u16,
    /// `None`: bytes.
    request: Option<Asked>,
    /// The client has a sidecar.
    sidecar: bool,
}

/// Prints the way; findings if it would be refused.
pub(crate) fn explain(paths: &[PathBuf], explain: &Explain) -> Result<(), Failure> {
    let bootstrap = explain.asking.config.as_deref().map(Bootstrap::read).transpose()?;
    let (world, own) = read(paths, explain.question.mesh.as_deref(), bootstrap)?;
    let connection = Connection::of(&explain.question, &world, own).map_err(Failure::Configuration)?;
    let ways = ways(&world, &connection).map_err(Failure::Configuration)?;
    report::print(&connection, &ways, explain.asking.output);
    match ways.iter().all(way::Way::passes) {
        true => Ok(()),
        false => Err(Failure::Findings("it would be refused".to_owned())),
    }
}

/// The mesh, and the workload of the bootstrap file.
fn read(
    paths: &[PathBuf],
    mesh: Option<&Path>,
    bootstrap: Option<Bootstrap>,
) -> Result<(World, Option<Workload>), Failure> {
    let inputs = bootstrap.map(|bootstrap| bootstrap.resources);
    let paths = match &inputs {
        Some(inputs) if paths.is_empty() => inputs.paths.as_slice(),
        _ => paths,
    };
    if paths.is_empty() {
        let message = "--offline needs files or directories of Istio YAML, or --config with a bootstrap file";
        return Err(Failure::Configuration(message.to_owned()));
    }
    let files = read_resources(paths).map_err(|failure| Failure::Configuration(failure.to_string()))?;
    let (config, own) = match (mesh, inputs) {
        (Some(path), inputs) => (mesh_config(path)?, inputs.map(|inputs| inputs.workload)),
        (None, Some(inputs)) => (inputs.mesh, Some(inputs.workload)),
        (None, None) => (MeshConfig::default(), None),
    };
    let world = World::of(&files, &[], config).map_err(Failure::Configuration)?;
    Ok((world, own))
}

fn mesh_config(path: &Path) -> Result<MeshConfig, Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| Failure::Configuration(format!("{name}: {error}")))?;
    let (config, diagnostics) = MeshConfig::parse(&Source { file: name.into(), text: &text }, None);
    match diagnostics.iter().find(|diagnostic| Diagnostic::is_error(diagnostic)) {
        Some(error) => Err(Failure::Configuration(error.to_string())),
        None => Ok(config),
    }
}

impl Connection {
    fn of(question: &Question, world: &World, own: Option<Workload>) -> Result<Self, String> {
        let id = identity(question.from.as_deref().unwrap_or_default(), &world.mesh)?;
        let (namespace, account) = id.account().unwrap_or(("default", "default"));
        let named = Workload {
            name: account.into(),
            namespace: namespace.into(),
            service_account: account.into(),
            ..Workload::default()
        };
        let is_own =
            |own: &Workload| own.namespace == named.namespace && own.service_account == named.service_account;
        let listed = || world.effective(&named).workload_of(namespace, account);
        // Labels decide which resources hold for it.
        let client = own.filter(is_own).or_else(listed).unwrap_or_else(|| named.clone());
        let effective = world.effective(&client);
        let (host, port) = (question.to.clone().unwrap_or_default(), question.port.unwrap_or_default());
        let service = service(&effective, &host, namespace);
        let address = SocketAddr::new(client.addresses.first().copied().unwrap_or(NOWHERE), 40000);
        let declared = service.as_ref().and_then(|host| effective.protocol_of(host, port));
        let request = request(question, declared, &world.mesh, &host, address.ip())?;
        Ok(Self { id, address, host, service, port, request, sidecar: !question.plaintext, client })
    }
}

fn identity(from: &str, mesh: &MeshConfig) -> Result<SpiffeId, String> {
    let wrong = |error: &dyn std::fmt::Display| {
        format!("--from {from:?}: {error}; write NAMESPACE/SERVICEACCOUNT or spiffe://TRUST-DOMAIN/...")
    };
    if from.starts_with("spiffe://") {
        return SpiffeId::parse(from).map_err(|error| wrong(&error));
    }
    let (namespace, account) = from.split_once('/').ok_or_else(|| wrong(&"there is no `/` in it"))?;
    let domains = mesh.trust_domains();
    let domain: &TrustDomain = domains.first().ok_or("the mesh has no trust domain")?;
    SpiffeId::of_account(domain, namespace, account).map_err(|error| wrong(&error))
}

/// A name as clients write it: whole, or without what their resolver appends.
fn service(effective: &Effective, host: &str, namespace: &str) -> Option<Arc<str>> {
    let domain = "svc.cluster.local";
    let whole = host.to_ascii_lowercase();
    [
        whole.clone(),
        format!("{whole}.{namespace}.{domain}"),
        format!("{whole}.{domain}"),
        format!("{whole}.cluster.local"),
    ]
    .iter()
    .find_map(|name| effective.host_of(name))
}

/// What a client of that port sends: HTTP, unless the port is declared for something else, or for anything and nothing
/// of HTTP is asked for.
fn request(
    question: &Question,
    declared: Option<String>,
    mesh: &MeshConfig,
    host: &str,
    remote_ip: IpAddr,
) -> Result<Option<Asked>, String> {
    let asks = question.method.is_some() || question.path.is_some() || !question.header.is_empty();
    let is_http = match declared.as_deref() {
        Some("AUTO") => asks,
        Some(name) => name.starts_with("HTTP") && name != "HTTPS" || name.starts_with("GRPC"),
        None => true,
    };
    if !is_http {
        return Ok(None);
    }
    let path = question.path.as_deref().unwrap_or("/");
    let target = normalize_path(mesh.path_normalization, path)
        .ok_or_else(|| format!("--path {path:?} cannot be normalised: it begins with `/`, and has no %00"))?;
    Ok(Some(Asked {
        method: question.method.clone().unwrap_or_else(|| "GET".to_owned()),
        authority: host.to_owned(),
        path: path_of(&target).to_owned(),
        remote_ip,
        headers: Some(question.header.clone()),
    }))
}
