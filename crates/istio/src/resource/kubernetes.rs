//! Kubernetes Service and Pod, as far as Istio reads them: hosts, ports, selectors, addresses, accounts. What does
//! not concern the mesh (volumes, images) is passed over without a word: it is not ours to judge.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sidering_policy::Position;

use super::meta::{Labels, Meta, metadata};
use super::port::{Port, Protocol};
use crate::read::{Fields, Reader};
use crate::yaml::{Node, Value};

#[derive(Debug)]
pub(crate) struct KubernetesService {
    pub(crate) meta: Meta,
    pub(crate) addresses: Vec<IpAddr>,
    /// `clusterIP: None`.
    pub(crate) headless: bool,
    /// `None`: endpoints are somebody else's to say.
    pub(crate) selector: Option<Labels>,
    pub(crate) ports: Vec<(Port, TargetPort)>,
}

#[derive(Clone, Debug)]
pub(crate) enum TargetPort {
    Number(u16),
    /// Of a container's port.
    Name(String),
}

#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) service_account: Arc<str>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) position: Position,
}

/// What a Deployment and the like say of the pods they will make: who they are, not where.
#[derive(Debug)]
pub(crate) struct PodTemplate {
    pub(crate) meta: Meta,
    pub(crate) labels: Labels,
    pub(crate) service_account: Arc<str>,
}

pub(crate) fn parse_service(document: &Node, r: &mut Reader<'_>) -> Option<KubernetesService> {
    let (meta, mut top) = metadata(document, "Service", r)?;
    let spec = top.get("spec")?;
    let mut f = r.fields(spec, "Service spec");
    if let Some(n) = f.get("type").filter(|n| scalar(n) == "ExternalName") {
        r.warning(n, "an ExternalName service is ignored; write a ServiceEntry");
        return None;
    }
    let cluster_ip = f.get("clusterIP").map(scalar).unwrap_or_default();
    let mut addresses: Vec<IpAddr> = cluster_ip.parse().into_iter().collect();
    if let Some(n) = f.get("clusterIPs") {
        addresses.extend(r.names(n, "clusterIPs").iter().filter_map(|text| text.parse::<IpAddr>().ok()));
    }
    addresses.sort_unstable();
    addresses.dedup();
    let selector = f.get("selector").map(|n| r.strings(n, "selector")).filter(|labels| !labels.is_empty());
    let mut ports = Vec::new();
    if let Some(n) = f.get("ports") {
        for item in r.list(n, "ports") {
            ports.extend(read_port(item, r));
        }
    }
    Some(KubernetesService { meta, addresses, headless: cluster_ip == "None", selector, ports })
}

fn scalar(node: &Node) -> &str {
    match &node.value {
        Value::Scalar { text, .. } => text,
        _ => "",
    }
}

fn read_port(node: &Node, r: &mut Reader<'_>) -> Option<(Port, TargetPort)> {
    let mut f = r.fields(node, "port");
    let number = match f.get("port") {
        Some(n) => r.port(n, "port")?,
        None => {
            r.error(node, "a Service port needs a `port`");
            return None;
        }
    };
    let name = f.get("name").and_then(|n| r.string(n, "name")).unwrap_or_default();
    let app_protocol = f.get("appProtocol").and_then(|n| r.string(n, "appProtocol"));
    let transport = f.get("protocol").and_then(|n| r.string(n, "protocol")).unwrap_or("TCP");
    let target = match f.get("targetPort") {
        None => TargetPort::Number(number),
        Some(n) if n.kind() == "a number" => TargetPort::Number(r.port(n, "targetPort")?),
        Some(n) => TargetPort::Name(r.text(n, "targetPort")?.to_owned()),
    };
    let protocol = Protocol::of_service_port(transport, app_protocol, name, number);
    Some((Port { number, target: None, name: name.into(), protocol, position: r.position(node) }, target))
}

pub(crate) fn parse_pod(document: &Node, r: &mut Reader<'_>) -> Option<Pod> {
    let (meta, mut top) = metadata(document, "Pod", r)?;
    let mut pod = Pod {
        meta,
        service_account: "default".into(),
        addresses: Vec::new(),
        ports: BTreeMap::new(),
        position: r.position(document),
    };
    if let Some(spec) = top.get("spec") {
        let mut f = r.fields(spec, "Pod spec");
        pod.service_account = read_account(&mut f, r);
        if let Some(n) = f.get("containers") {
            r.list(n, "containers").iter().for_each(|item| read_container_ports(item, &mut pod.ports, r));
        }
    }
    if let Some(status) = top.get("status") {
        let mut f = r.fields(status, "Pod status");
        if let Some(n) = f.get("podIP") {
            match r.text(n, "podIP")?.parse() {
                Ok(ip) => pod.addresses.push(ip),
                Err(_) => r.error(n, "podIP is no IP address"),
            }
        }
    }
    Some(pod)
}

fn read_container_ports(container: &Node, ports: &mut BTreeMap<String, u16>, r: &mut Reader<'_>) {
    let mut f = r.fields(container, "container");
    let Some(n) = f.get("ports") else { return };
    for item in r.list(n, "ports") {
        let mut p = r.fields(item, "container port");
        let number = p.get("containerPort").and_then(|n| r.port(n, "containerPort"));
        let name = p.get("name").and_then(|n| r.string(n, "name"));
        if let (Some(number), Some(name)) = (number, name) {
            ports.insert(name.to_owned(), number);
        }
    }
}

pub(crate) fn parse_deployment(document: &Node, r: &mut Reader<'_>) -> Option<PodTemplate> {
    parse_template(document, "Deployment", r)
}

pub(crate) fn parse_stateful_set(document: &Node, r: &mut Reader<'_>) -> Option<PodTemplate> {
    parse_template(document, "StatefulSet", r)
}

pub(crate) fn parse_daemon_set(document: &Node, r: &mut Reader<'_>) -> Option<PodTemplate> {
    parse_template(document, "DaemonSet", r)
}

fn parse_template(document: &Node, kind: &'static str, r: &mut Reader<'_>) -> Option<PodTemplate> {
    let (meta, mut top) = metadata(document, kind, r)?;
    let mut template = PodTemplate { meta, labels: Labels::new(), service_account: "default".into() };
    let pod = top.get("spec").and_then(|n| r.fields(n, "spec").get("template"));
    let Some(pod) = pod else { return Some(template) };
    let mut f = r.fields(pod, "pod template");
    if let Some(n) = f.get("metadata") {
        let labels = r.fields(n, "metadata").get("labels");
        template.labels = labels.map(|n| r.strings(n, "labels")).unwrap_or_default();
    }
    if let Some(n) = f.get("spec") {
        template.service_account = read_account(&mut r.fields(n, "Pod spec"), r);
    }
    Some(template)
}

/// Of a pod's spec; an empty name is the default account, as to Kubernetes.
fn read_account(f: &mut Fields<'_>, r: &mut Reader<'_>) -> Arc<str> {
    let account = f.get("serviceAccountName").and_then(|n| r.string(n, "serviceAccountName"));
    account.filter(|name| !name.is_empty()).unwrap_or("default").into()
}
