//! Istio's resources, typed: read from YAML with the line of everything that can decide something. One file per
//! kind; what needs more than one resource to know is `effective`'s work.

mod authorization;
mod authorization_value;
mod client_tls;
mod destination_rule;
mod kubernetes;
mod meta;
mod peer_authentication;
mod port;
mod request_authentication;
mod service_entry;
mod sidecar;
mod traffic_policy;
mod virtual_service;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use sidering_policy::Position;

pub use authorization::Action;
pub(crate) use authorization::{AuthorizationPolicy, PolicyRule, Term};
pub(crate) use authorization_value::{Attribute, parse_net};
pub use client_tls::TlsMode;
pub(crate) use client_tls::{ClientTls, FileAt};
pub(crate) use destination_rule::{DestinationRule, Subset};
pub(crate) use kubernetes::{KubernetesService, Pod, PodTemplate, TargetPort};
pub(crate) use meta::{Labels, Meta, is_selected};
pub use peer_authentication::MtlsMode;
pub(crate) use peer_authentication::{ModeAt, PeerAuthentication};
pub(crate) use port::{Port, Protocol, ProtocolClass};
pub(crate) use request_authentication::RequestAuthentication;
pub(crate) use service_entry::{EndpointAddress, Resolution, ServiceEntry, WorkloadEntry, WorkloadSpec};
pub(crate) use sidecar::{CaptureMode, DefaultEndpoint, Egress, HostSelector, Ingress, ListenAt, Sidecar};
pub(crate) use traffic_policy::{Balancer, Settings, TrafficPolicy};
pub(crate) use virtual_service::{
    Destination, HeaderEdits, HttpMatch, HttpRoute, Scope, Text, VirtualService, WeightedDestination,
};

use crate::diagnostic::Found;
use crate::read::Reader;
use crate::yaml::{self, Node};
use crate::{Diagnostic, Findings, Severity};

/// A file's text and the name by which the operator knows it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// As named by the operator; positions repeat it.
    pub file: Arc<str>,
    /// Its whole text.
    pub text: &'a str,
}

impl<'a> Source<'a> {
    /// A file as it was read.
    ///
    /// # Errors
    /// Where it is not UTF-8.
    pub fn of(file: Arc<str>, content: &'a [u8]) -> Result<Self, Diagnostic> {
        let text = match std::str::from_utf8(content) {
            Ok(text) => text,
            Err(error) => {
                let (before, rest) = content.split_at(error.valid_up_to());
                let before = String::from_utf8_lossy(before);
                let line = before.rsplit('\n').next().unwrap_or_default();
                let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                let position = Position {
                    file,
                    line: number(1 + before.matches('\n').count()),
                    column: number(1 + line.chars().count()),
                };
                let byte = rest.first().copied().unwrap_or_default();
                let message = format!("byte {byte:#04x} is not UTF-8; save the file as UTF-8");
                return Err(Diagnostic::error(position, message));
            }
        };
        Ok(Self { file, text })
    }
}

/// A resource written within another document, such as a policy test.
#[derive(Clone, Debug)]
pub struct Inline<'a> {
    /// The file that holds it.
    pub file: Arc<str>,
    /// Where it is written there.
    pub node: &'a Node,
}

/// Every resource that was read, each kind in Istio's order: oldest first, then by name, then by namespace.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub(crate) peer_authentications: Vec<Arc<PeerAuthentication>>,
    pub(crate) authorization_policies: Vec<Arc<AuthorizationPolicy>>,
    pub(crate) request_authentications: Vec<Arc<RequestAuthentication>>,
    pub(crate) destination_rules: Vec<Arc<DestinationRule>>,
    pub(crate) service_entries: Vec<Arc<ServiceEntry>>,
    pub(crate) workload_entries: Vec<Arc<WorkloadEntry>>,
    pub(crate) sidecars: Vec<Arc<Sidecar>>,
    pub(crate) virtual_services: Vec<Arc<VirtualService>>,
    pub(crate) services: Vec<Arc<KubernetesService>>,
    pub(crate) pods: Vec<Arc<Pod>>,
    pub(crate) pod_templates: Vec<Arc<PodTemplate>>,
}

/// Kinds that Istio or Kubernetes knows and that mean nothing to a sidecar run from files, or not yet.
const IGNORED: &[(&str, &str)] = &[
    ("EnvoyFilter", "it is not supported and never will be"),
    ("WasmPlugin", "it is not supported and never will be"),
    ("TrafficExtension", "it is not supported and never will be"),
    ("Gateway", "only sidecars are run"),
    ("Telemetry", "it is not supported yet"),
    ("ProxyConfig", "it is not supported yet"),
    ("WorkloadGroup", "list WorkloadEntry resources instead"),
    ("Namespace", "it means nothing here yet"),
    ("ServiceAccount", "it means nothing here"),
    ("ConfigMap", "it means nothing here"),
];

const SECURITY: (&str, &[&str]) = ("security.istio.io", &["v1", "v1beta1"]);
const NETWORKING: (&str, &[&str]) = ("networking.istio.io", &["v1", "v1beta1", "v1alpha3"]);
const KUBERNETES: (&str, &[&str]) = ("", &["v1"]);
const APPS: (&str, &[&str]) = ("apps", &["v1"]);

/// What one source says, read by itself; [`join`] makes a whole of several.
#[derive(Debug, Default)]
pub struct Parsed {
    resources: Resources,
    defined: Vec<Defined>,
    found: Found,
}

/// A resource that was read, and where: no other may have its kind and name.
#[derive(Debug)]
struct Defined {
    kind: &'static str,
    namespace: Arc<str>,
    name: Arc<str>,
    position: Position,
    /// How bad a second one is.
    twice: Severity,
}

/// Reads every document of every source. An error-level diagnostic means that the whole load must be refused.
/// The order of sources has no meaning.
pub fn parse(sources: &[Source<'_>]) -> (Resources, Vec<Diagnostic>) {
    parse_with(sources, &[])
}

/// As [`parse`], with resources that stand within other documents beside those of the sources.
pub fn parse_with(sources: &[Source<'_>], inline: &[Inline<'_>]) -> (Resources, Vec<Diagnostic>) {
    let mut findings = Findings::default();
    // By name, so that it does not show in diagnostics either in which order they came.
    let mut sources: Vec<&Source<'_>> = sources.iter().collect();
    sources.sort_by(|a, b| a.file.cmp(&b.file));
    let mut parsed: Vec<Parsed> =
        sources.into_iter().map(|source| Parsed::of(source, &mut findings)).collect();
    parsed.extend(inline.iter().map(|resource| Parsed::of_inline(resource, &mut findings)));
    join(&parsed, findings)
}

/// Makes one load of what was parsed with `findings`. An error-level diagnostic means that it must be refused.
pub fn join<'p>(
    parsed: impl IntoIterator<Item = &'p Parsed>,
    mut findings: Findings,
) -> (Resources, Vec<Diagnostic>) {
    let mut resources = Resources::default();
    let mut seen = HashMap::new();
    for source in parsed {
        resources.extend(&source.resources);
        for Defined { kind, namespace, name, position, twice } in &source.defined {
            match seen.entry((kind, namespace, name)) {
                Entry::Vacant(entry) => drop(entry.insert(position)),
                Entry::Occupied(first) => {
                    let first = first.get();
                    let message =
                        format!("{kind} {namespace}/{name} is already defined at {first}; keep one of them");
                    findings.push(Diagnostic { position: position.clone(), severity: *twice, message });
                }
            }
        }
    }
    resources.sort();
    (resources, findings.into_sorted())
}

impl Parsed {
    /// Reads every document of a source. `findings` are those of the whole load so far: what is bounded is bounded
    /// for all of it.
    pub fn of(source: &Source<'_>, findings: &mut Findings) -> Self {
        let mut parsed = Self::default();
        let before = findings.mark();
        match yaml::documents(source) {
            Ok(documents) => {
                documents.iter().for_each(|document| parsed.document(document, &source.file, findings))
            }
            Err(diagnostic) => findings.push(diagnostic),
        }
        parsed.found = findings.since(&before);
        parsed
    }

    fn of_inline(resource: &Inline<'_>, findings: &mut Findings) -> Self {
        let mut parsed = Self::default();
        parsed.document(resource.node, &resource.file, findings);
        parsed
    }

    /// Takes it into another load as it is. Refused where reading it again may give something else: it had errors, which
    /// may be about bounds that it shares with others, or not all of its warnings were kept.
    pub fn reuse(&self, findings: &mut Findings) -> bool {
        findings.repeat(&self.found)
    }

    fn document(&mut self, document: &Node, file: &Arc<str>, findings: &mut Findings) {
        let mut reader = Reader { file: file.clone(), unknown: Severity::Warning, findings };
        let items = list_items(document, &mut reader);
        if items.is_none()
            && let Some((kind, api_version, node)) = header(document, &mut reader)
        {
            self.resource(kind, api_version, node, &mut reader);
        }
        items.into_iter().flatten().for_each(|item| self.document(item, file, findings));
    }

    fn resource(&mut self, kind: &str, api_version: &str, document: &Node, r: &mut Reader<'_>) {
        macro_rules! read {
            ($kind:literal, $group:expr, $parse:path, $list:ident) => {
                if kind == $kind {
                    if is_known_version($kind, api_version, $group, document, r) {
                        if $group.0 == SECURITY.0 {
                            r.unknown = Severity::Error;
                        }
                        if let Some(resource) = $parse(document, r) {
                            // A pod template only adds to who may answer: two do not contradict each other.
                            let twice = if $group.0 == APPS.0 { Severity::Warning } else { Severity::Error };
                            self.define($kind, &resource.meta, twice, r.position(document));
                            self.resources.$list.push(Arc::new(resource));
                        }
                    }
                    return;
                }
            };
        }
        read!("PeerAuthentication", SECURITY, peer_authentication::parse, peer_authentications);
        read!("AuthorizationPolicy", SECURITY, authorization::parse, authorization_policies);
        read!("RequestAuthentication", SECURITY, request_authentication::parse, request_authentications);
        read!("DestinationRule", NETWORKING, destination_rule::parse, destination_rules);
        read!("ServiceEntry", NETWORKING, service_entry::parse, service_entries);
        read!("WorkloadEntry", NETWORKING, service_entry::parse_workload_entry, workload_entries);
        read!("Sidecar", NETWORKING, sidecar::parse, sidecars);
        read!("VirtualService", NETWORKING, virtual_service::parse, virtual_services);
        read!("Service", KUBERNETES, kubernetes::parse_service, services);
        read!("Pod", KUBERNETES, kubernetes::parse_pod, pods);
        read!("Deployment", APPS, kubernetes::parse_deployment, pod_templates);
        read!("StatefulSet", APPS, kubernetes::parse_stateful_set, pod_templates);
        read!("DaemonSet", APPS, kubernetes::parse_daemon_set, pod_templates);
        if let Some((_, why)) = IGNORED.iter().find(|(known, _)| *known == kind) {
            r.warning(document, format!("{kind} is ignored: {why}"));
        } else if api_version.starts_with(SECURITY.0) {
            r.error(document, format!("{} has no kind {kind:?}; check its spelling", SECURITY.0));
        } else {
            r.warning(
                document,
                format!("unknown kind {kind:?} ({api_version}) is ignored; check its spelling"),
            );
        }
    }

    fn define(&mut self, kind: &'static str, meta: &Meta, twice: Severity, position: Position) {
        let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
        self.defined.push(Defined { kind, namespace, name, position, twice });
    }
}

/// Hands the names of all lists to a macro.
macro_rules! each_list {
    ($with:ident) => {
        $with!(
            peer_authentications,
            authorization_policies,
            request_authentications,
            destination_rules,
            service_entries,
            workload_entries,
            sidecars,
            virtual_services,
            services,
            pods,
            pod_templates
        )
    };
}

impl Resources {
    /// The full name of the first Kubernetes Service that selects pods with these labels.
    pub fn service_of(&self, namespace: &str, labels: &Labels) -> Option<String> {
        let selects = |service: &&Arc<KubernetesService>| {
            *service.meta.namespace == *namespace
                && service.selector.as_ref().is_some_and(|selector| is_selected(selector, labels))
        };
        self.services
            .iter()
            .find(selects)
            .map(|service| crate::host::full_name(&service.meta.name, namespace))
    }

    fn extend(&mut self, other: &Self) {
        macro_rules! extend {
            ($($list:ident),*) => {
                // All of them, or it does not compile.
                let Self { $($list),* } = other;
                $( self.$list.extend_from_slice($list); )*
            };
        }
        each_list!(extend);
    }

    fn sort(&mut self) {
        macro_rules! by_age {
            ($($list:ident),*) => { $( self.$list.sort_by(|a, b| a.meta.age().cmp(&b.meta.age())); )* };
        }
        each_list!(by_age);
    }
}

/// `kind: List` of kubectl: its items are documents.
fn list_items<'n>(document: &'n Node, r: &mut Reader<'_>) -> Option<&'n [Node]> {
    let yaml::Value::Map(entries) = &document.value else { return None };
    let is_list = |e: &yaml::Entry| {
        e.key == "kind" && matches!(&e.value.value, yaml::Value::Scalar { text, .. } if text == "List")
    };
    if !entries.iter().any(is_list) {
        return None;
    }
    let items = entries.iter().find(|entry| entry.key == "items")?;
    Some(r.list(&items.value, "items"))
}

/// `kind` and `apiVersion` of a document.
fn header<'n>(document: &'n Node, r: &mut Reader<'_>) -> Option<(&'n str, &'n str, &'n Node)> {
    let mut f = r.fields(document, "the document");
    let kind = f.get("kind");
    let api_version = f.get("apiVersion");
    match (kind, api_version) {
        (Some(kind), Some(api_version)) => {
            Some((r.text(kind, "kind")?, r.text(api_version, "apiVersion")?, document))
        }
        _ => {
            if matches!(document.value, yaml::Value::Map(_)) {
                r.error(document, "a resource needs `apiVersion` and `kind`");
            }
            None
        }
    }
}

fn is_known_version(
    kind: &str,
    written: &str,
    group: (&str, &[&str]),
    node: &Node,
    r: &mut Reader<'_>,
) -> bool {
    let (own, version) = written.rsplit_once('/').unwrap_or(("", written));
    if own == group.0 && group.1.contains(&version) {
        return true;
    }
    let slash = if group.0.is_empty() { "" } else { "/" };
    // Others have a Service or a Deployment, too; a security resource of a misspelled group must not be passed over.
    let is_foreign = group.0 == APPS.0 || group.0 == KUBERNETES.0 && own != group.0;
    if !is_foreign {
        r.error(
            node,
            format!("{kind} has no apiVersion {written:?}; write {}{slash}{}", group.0, group.1[0]),
        );
    } else {
        r.warning(
            node,
            format!("{kind} of {written} is ignored; {}{slash}{} is supported", group.0, group.1[0]),
        );
    }
    false
}

#[cfg(test)]
mod tests;
