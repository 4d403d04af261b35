//! ServiceEntry and WorkloadEntry: services and the endpoints behind them.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use sidering_policy::Position;

use super::meta::{Labels, Meta, envelope, read_export_to, read_match_labels};
use super::port::{Port, read_port};
use crate::host;
use crate::read::{Fields, Reader};
use crate::yaml::Node;

#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) meta: Meta,
    pub(crate) hosts: Vec<Arc<str>>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) ports: Vec<Port>,
    /// `MESH_EXTERNAL`, the default.
    pub(crate) external: bool,
    pub(crate) resolution: Resolution,
    pub(crate) endpoints: Vec<WorkloadSpec>,
    pub(crate) selector: Option<Labels>,
    pub(crate) subject_alt_names: Vec<(Arc<str>, Position)>,
    pub(crate) export_to: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    None,
    Static,
    Dns,
}

#[derive(Debug)]
pub(crate) struct WorkloadEntry {
    pub(crate) meta: Meta,
    pub(crate) workload: WorkloadSpec,
}

/// An endpoint, listed by a ServiceEntry or by itself.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadSpec {
    pub(crate) address: EndpointAddress,
    /// Port name to the port where this endpoint listens.
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) weight: u32,
    pub(crate) service_account: Option<Arc<str>>,
    pub(crate) position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointAddress {
    Ip(IpAddr),
    Unix(Arc<Path>),
    /// Of a service whose endpoints are found by DNS.
    Name(Arc<str>),
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<ServiceEntry> {
    let (meta, spec) = envelope(document, "ServiceEntry", r)?;
    let Some(spec) = spec else {
        r.error(document, "ServiceEntry needs a spec with hosts and ports");
        return None;
    };
    let mut f = r.fields(spec, "ServiceEntry spec");
    let hosts = read_hosts(f.get("hosts"), spec, r);
    let addresses = f.get("addresses").map(|n| read_addresses(n, r)).unwrap_or_default();
    let ports = read_ports(f.get("ports"), spec, r);
    let location = [("MESH_EXTERNAL", true), ("MESH_INTERNAL", false)];
    let external = f.get("location").and_then(|n| r.one_of(n, "location", &location)).unwrap_or(true);
    let resolution = read_resolution(f.get("resolution"), spec, r);
    let selector = f.get("workloadSelector").map(|n| read_workload_selector(n, "labels", r));
    let listed = f.get("endpoints");
    if let (Some(n), Some(_)) = (listed, &selector) {
        r.error(n, "endpoints and workloadSelector exclude each other; keep one of them");
    }
    let mut endpoints = Vec::new();
    if let Some(n) = listed {
        r.at_most(4096, n, "endpoints");
        for item in r.list(n, "endpoints") {
            endpoints.extend(read_workload(item, resolution != Resolution::Dns, r));
        }
    }
    let subject_alt_names =
        f.get("subjectAltNames").map(|n| read_names_at(n, "subjectAltNames", r)).unwrap_or_default();
    let export_to =
        f.get("exportTo").map(|n| read_export_to(n, &meta.namespace, true, r)).unwrap_or_default();
    f.done(r);
    Some(ServiceEntry {
        meta,
        hosts,
        addresses,
        ports,
        external,
        resolution,
        endpoints,
        selector,
        subject_alt_names,
        export_to,
    })
}

pub(crate) fn parse_workload_entry(document: &Node, r: &mut Reader<'_>) -> Option<WorkloadEntry> {
    let (meta, spec) = envelope(document, "WorkloadEntry", r)?;
    let Some(spec) = spec else {
        r.error(document, "WorkloadEntry needs a spec with an address");
        return None;
    };
    let mut workload = read_workload(spec, true, r)?;
    // Labels of the object itself count as the endpoint's, too.
    for (key, value) in &*meta.labels {
        Arc::make_mut(&mut workload.labels).entry(key.clone()).or_insert_with(|| value.clone());
    }
    Some(WorkloadEntry { meta, workload })
}

fn read_hosts(node: Option<&Node>, spec: &Node, r: &mut Reader<'_>) -> Vec<Arc<str>> {
    if let Some(n) = node {
        r.at_most(256, n, "hosts");
    }
    let hosts = node.map(|n| r.texts(n, "hosts")).unwrap_or_default();
    if hosts.is_empty() {
        r.error(spec, "ServiceEntry needs at least one host");
    }
    for (text, at) in &hosts {
        if *text == "*" {
            r.error(at, "host `*` would be every host; write a domain, such as *.example.com");
        } else if let Err(message) = host::check(text) {
            r.error(at, message);
        }
    }
    hosts.into_iter().map(|(text, _)| text.into()).collect()
}

fn read_addresses(node: &Node, r: &mut Reader<'_>) -> Vec<IpNet> {
    r.at_most(256, node, "addresses");
    let texts = r.texts(node, "addresses");
    let parse = |(text, at): (&str, &Node)| {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map_err(|_| r.error(at, format!("address {text:?} is neither an IP address nor a CIDR block")))
            .ok()
    };
    texts.into_iter().filter_map(parse).collect()
}

fn read_ports(node: Option<&Node>, spec: &Node, r: &mut Reader<'_>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    if let Some(n) = node {
        r.at_most(256, n, "ports");
    }
    let items = node.map(|n| r.list(n, "ports")).unwrap_or_default();
    if items.is_empty() {
        r.error(spec, "ServiceEntry needs at least one port");
    }
    for item in items {
        let Some(port) = read_port(item, false, r) else { continue };
        if port.name.is_empty() {
            r.error(item, "a ServiceEntry port needs a `name`");
        }
        if !numbers.insert(port.number) {
            r.error(item, format!("port {} is listed twice; keep one of them", port.number));
        }
        if !port.name.is_empty() && !names.insert(port.name.clone()) {
            r.error(item, format!("port name {:?} is used twice; rename one of them", port.name));
        }
        ports.push(port);
    }
    ports
}

fn read_resolution(node: Option<&Node>, spec: &Node, r: &mut Reader<'_>) -> Resolution {
    let words = [
        ("NONE", Resolution::None),
        ("STATIC", Resolution::Static),
        ("DNS", Resolution::Dns),
        ("DNS_ROUND_ROBIN", Resolution::Dns),
        ("DYNAMIC_DNS", Resolution::Dns),
    ];
    let resolution = node.and_then(|n| r.one_of(n, "resolution", &words)).unwrap_or(Resolution::None);
    if resolution != Resolution::Static {
        let at = node.unwrap_or(spec);
        r.warning(at, "names are not resolved yet: only endpoints that are listed by address are reached; list them, with resolution STATIC");
    }
    resolution
}

/// `workloadSelector`: its labels are in `labels` (ServiceEntry, Sidecar) or `matchLabels` (DestinationRule).
pub(crate) fn read_workload_selector(node: &Node, field: &'static str, r: &mut Reader<'_>) -> Labels {
    let mut f = r.fields(node, "workloadSelector");
    let labels = f.get(field).map(|n| read_match_labels(n, r)).unwrap_or_default();
    f.done(r);
    labels
}

pub(crate) fn read_names_at(node: &Node, what: &str, r: &mut Reader<'_>) -> Vec<(Arc<str>, Position)> {
    let texts = r.texts(node, what);
    texts.into_iter().map(|(text, at)| (text.into(), r.position(at))).collect()
}

fn read_workload(node: &Node, numeric: bool, r: &mut Reader<'_>) -> Option<WorkloadSpec> {
    let mut f = r.fields(node, "endpoint");
    let address = read_address(&mut f, node, numeric, r);
    let mut ports = BTreeMap::new();
    if let Some(n) = f.get("ports") {
        for entry in r.entries(n, "ports") {
            if let Some(port) = r.port(&entry.value, "port") {
                ports.insert(entry.key.clone(), port);
            }
        }
        if matches!(address, Some(EndpointAddress::Unix(_))) {
            r.error(n, "an endpoint at a Unix socket has no ports; remove them");
        }
    }
    let labels = f.get("labels").map(|n| r.strings(n, "labels")).unwrap_or_default();
    let weight = f.get("weight").and_then(|n| r.count(n, "weight")).unwrap_or(0).max(1);
    let service_account = f.get("serviceAccount").and_then(|n| r.text(n, "serviceAccount")).map(Arc::from);
    f.later(&["network", "locality"], r);
    f.done(r);
    Some(WorkloadSpec {
        address: address?,
        ports,
        labels: labels.into(),
        weight,
        service_account,
        position: r.position(node),
    })
}

fn read_address(
    f: &mut Fields<'_>,
    node: &Node,
    numeric: bool,
    r: &mut Reader<'_>,
) -> Option<EndpointAddress> {
    let Some(n) = f.get("address") else {
        r.error(node, "an endpoint needs an `address`");
        return None;
    };
    let text = r.text(n, "address")?;
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') {
            r.error(n, format!("address {text:?} needs an absolute path: unix:///run/app.sock"));
            return None;
        }
        return Some(EndpointAddress::Unix(Path::new(path).into()));
    }
    match text.parse() {
        Ok(ip) => Some(EndpointAddress::Ip(ip)),
        Err(_) if numeric => {
            r.error(n, format!("address {text:?} is no IP address; write one, or unix:///path"));
            None
        }
        Err(_) => Some(EndpointAddress::Name(text.into())),
    }
}
