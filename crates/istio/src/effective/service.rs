//! Every service of the mesh with its endpoints, whatever resource declares them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use sidering_identity::ExpectedSans;
use sidering_policy::{Address, Map, Origin, Position};

use super::authentication::{Authentication, Policies};
use super::destination::MergedRule;
use super::naming;
use super::sum::Sum;
use crate::host::DOMAIN;
use crate::resource::{
    EndpointAddress, KubernetesService, Labels, Meta, MtlsMode, Pod, PodTemplate, Port, Resolution,
    ServiceEntry, TargetPort, WorkloadEntry, WorkloadSpec, is_selected,
};
use crate::{MeshConfig, Resources};

/// A host that clients may call.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) hostname: Arc<str>,
    pub(crate) namespace: Arc<str>,
    /// Virtual addresses.
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) ports: Vec<Port>,
    pub(crate) external: bool,
    pub(crate) headless: bool,
    /// Each client dials the endpoint itself (`resolution: NONE`, or headless): Istio makes one choice of TLS for all.
    pub(crate) original_destination: bool,
    /// Shared by the hosts of a ServiceEntry.
    pub(crate) endpoints: Vec<Arc<Instance>>,
    /// Listed by the ServiceEntry itself.
    pub(crate) subject_alt_names: Vec<(Arc<str>, Position)>,
    /// Annotations of a Kubernetes Service that name further accounts.
    pub(crate) annotations: Labels,
    /// Accounts of pod templates that its selector chooses, with the resource.
    pub(crate) template_accounts: Vec<(Arc<str>, Origin)>,
    /// Who may answer for it: secure naming.
    pub(crate) expected: Arc<ExpectedSans>,
    /// The mode that clients assume.
    pub(crate) namespace_mode: MtlsMode,
    /// `None`: to all.
    pub(crate) export_to: Vec<Arc<str>>,
    pub(crate) rule: Option<Arc<MergedRule>>,
    pub(crate) origin: Origin,
}

/// An endpoint of a service.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) address: EndpointAddress,
    /// Service port to workload port.
    pub(crate) ports: BTreeMap<u16, u16>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) weight: u32,
    pub(crate) namespace: Arc<str>,
    pub(crate) service_account: Option<Arc<str>>,
    /// Its tlsMode is `istio`: there is a sidecar that takes mesh mTLS.
    pub(crate) has_sidecar: bool,
    /// What it takes.
    pub(crate) authentication: Authentication,
    pub(crate) origin: Origin,
}

impl Service {
    pub(crate) fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Addresses by which clients dial it: its own, else its endpoints'.
    pub(crate) fn dialled(&self) -> Vec<IpAddr> {
        let whole = |net: &&IpNet| net.prefix_len() == net.max_prefix_len();
        let own: Vec<IpAddr> = self.addresses.iter().filter(whole).map(IpNet::addr).collect();
        if !own.is_empty() {
            return own;
        }
        let of = |instance: &Arc<Instance>| match instance.address {
            EndpointAddress::Ip(ip) => Some(ip),
            _ => None,
        };
        self.endpoints.iter().filter_map(of).collect()
    }

    pub(crate) fn origin_at(&self, position: &Position) -> Origin {
        Origin { position: Some(position.clone()), ..self.origin.clone() }
    }

    /// `orders` of `orders.shop.svc.cluster.local`, where the host has that form.
    pub(crate) fn short_name(&self) -> Option<(&str, &str)> {
        let rest = self.hostname.strip_suffix(DOMAIN)?.strip_suffix(".svc.")?;
        rest.split_once('.').filter(|(name, namespace)| !name.contains('*') && !namespace.contains('.'))
    }
}

impl Instance {
    /// Where to connect for a port of the service.
    pub(crate) fn address(&self, port: u16) -> Option<Address> {
        match &self.address {
            EndpointAddress::Ip(ip) => Some(Address::Tcp(SocketAddr::new(*ip, *self.ports.get(&port)?))),
            EndpointAddress::Unix(path) => Some(Address::Unix(path.clone())),
            EndpointAddress::Name(_) => None,
        }
    }

    pub(crate) fn is_at(&self, addresses: &[IpAddr]) -> bool {
        matches!(&self.address, EndpointAddress::Ip(ip) if addresses.contains(ip))
    }
}

/// Every service, one for each host and namespace, oldest first; endpoints that several resources list are joined.
/// None after the one that makes `sum` too much.
pub(crate) fn all(
    resources: &Resources,
    mesh: &MeshConfig,
    policies: &Policies<'_>,
    sum: &mut Sum,
) -> Vec<Service> {
    let workloads = Workloads::new(resources, policies);
    let mut declared = Vec::new();
    for entry in &resources.service_entries {
        declared.push((entry.meta.age(), of_entry(entry, mesh, &workloads, sum)));
    }
    for service in &resources.services {
        let service_itself = of_kubernetes(service, mesh, &workloads, sum).into_iter().collect();
        declared.push((service.meta.age(), service_itself));
    }
    declared.sort_by(|a, b| a.0.cmp(&b.0));
    let mut merged: Vec<Service> = Vec::new();
    let mut seen: Map<(Arc<str>, Arc<str>), usize> = Map::default();
    for service in declared.into_iter().flat_map(|(_, services)| services) {
        let key = (service.hostname.clone(), service.namespace.clone());
        match seen.get(&key) {
            Some(index) => join(&mut merged[*index], service),
            None => {
                seen.insert(key, merged.len());
                merged.push(service);
            }
        }
    }
    for service in &mut merged {
        service.namespace_mode = policies.namespace_mode(&service.namespace);
        service.expected = Arc::new(naming::expected(service, mesh));
    }
    merged
}

fn join(first: &mut Service, other: Service) {
    let mut numbers: HashSet<u16> = first.ports.iter().map(|port| port.number).collect();
    first.ports.extend(other.ports.into_iter().filter(|port| numbers.insert(port.number)));
    first.endpoints.extend(other.endpoints);
    first.subject_alt_names.extend(other.subject_alt_names);
}

/// Workloads that selectors choose from, by namespace.
struct Workloads<'r> {
    policies: &'r Policies<'r>,
    entries: HashMap<&'r str, Vec<&'r WorkloadEntry>>,
    pods: HashMap<&'r str, Vec<&'r Pod>>,
    templates: &'r [Arc<PodTemplate>],
}

impl<'r> Workloads<'r> {
    fn new(resources: &'r Resources, policies: &'r Policies<'r>) -> Self {
        let mut entries: HashMap<&str, Vec<&WorkloadEntry>> = HashMap::new();
        for entry in &resources.workload_entries {
            entries.entry(&*entry.meta.namespace).or_default().push(entry);
        }
        let mut pods: HashMap<&str, Vec<&Pod>> = HashMap::new();
        for pod in &resources.pods {
            pods.entry(&*pod.meta.namespace).or_default().push(pod);
        }
        Self { policies, entries, pods, templates: &resources.pod_templates }
    }

    /// The workloads of a namespace that a service's selector chooses.
    fn selected(
        &self,
        namespace: &str,
        selector: &Labels,
        ports: &[(Port, TargetPort)],
    ) -> Vec<Arc<Instance>> {
        let entries = self.entries.get(namespace).into_iter().flatten();
        let entries = entries.filter(|entry| is_selected(selector, &entry.workload.labels));
        let pods = self.pods.get(namespace).into_iter().flatten();
        let pods = pods.filter(|pod| is_selected(selector, &pod.meta.labels));
        let entries = entries.map(|entry| self.of_entry(&entry.workload, ports, &entry.meta));
        entries.chain(pods.flat_map(|pod| self.of_pod(pod, ports))).map(Arc::new).collect()
    }

    fn templates(&self, namespace: &str, selector: &Labels) -> Vec<(Arc<str>, Origin)> {
        let chosen = |template: &&Arc<PodTemplate>| {
            *template.meta.namespace == *namespace && is_selected(selector, &template.labels)
        };
        let templates = self.templates.iter().filter(chosen);
        templates.map(|template| (template.service_account.clone(), template.meta.origin())).collect()
    }

    fn of_entry(&self, workload: &WorkloadSpec, ports: &[(Port, TargetPort)], meta: &Meta) -> Instance {
        let target = |(port, target): &(Port, TargetPort)| {
            let number = match target {
                _ if workload.ports.contains_key(&*port.name) => workload.ports[&*port.name],
                TargetPort::Number(number) => *number,
                TargetPort::Name(name) => *workload.ports.get(name)?,
            };
            Some((port.number, number))
        };
        let written = workload.labels.get("security.istio.io/tlsMode").map(String::as_str);
        Instance {
            address: workload.address.clone(),
            ports: ports.iter().filter_map(target).collect(),
            labels: workload.labels.clone(),
            weight: workload.weight,
            namespace: meta.namespace.clone(),
            service_account: workload.service_account.clone(),
            has_sidecar: written.map_or(workload.service_account.is_some(), |mode| mode == "istio"),
            authentication: self.policies.of(&meta.namespace, &workload.labels),
            origin: meta.origin_at(&workload.position),
        }
    }

    fn of_pod<'p>(
        &'p self,
        pod: &'p Pod,
        ports: &'p [(Port, TargetPort)],
    ) -> impl Iterator<Item = Instance> + 'p {
        pod.addresses.iter().map(move |ip| {
            let target = |(port, target): &(Port, TargetPort)| match target {
                TargetPort::Number(number) => Some((port.number, *number)),
                TargetPort::Name(name) => Some((port.number, *pod.ports.get(name)?)),
            };
            let written = pod.meta.labels.get("security.istio.io/tlsMode").map(String::as_str);
            Instance {
                address: EndpointAddress::Ip(*ip),
                ports: ports.iter().filter_map(target).collect(),
                labels: pod.meta.labels.clone(),
                weight: 1,
                namespace: pod.meta.namespace.clone(),
                service_account: Some(pod.service_account.clone()),
                has_sidecar: written == Some("istio"),
                authentication: self.policies.of(&pod.meta.namespace, &pod.meta.labels),
                origin: pod.meta.origin_at(&pod.position),
            }
        })
    }
}

fn of_entry(
    entry: &ServiceEntry,
    mesh: &MeshConfig,
    workloads: &Workloads<'_>,
    sum: &mut Sum,
) -> Vec<Service> {
    if sum.excess().is_some() {
        return Vec::new();
    }
    let target = |port: &Port| TargetPort::Number(port.target.unwrap_or(port.number));
    let ports: Vec<(Port, TargetPort)> =
        entry.ports.iter().map(|port| (port.clone(), target(port))).collect();
    let mut endpoints: Vec<Arc<Instance>> = Vec::new();
    // Of DNS entries, too: who answers is known of them, and where, if they have addresses.
    if entry.resolution != Resolution::None {
        endpoints = entry
            .endpoints
            .iter()
            .map(|workload| Arc::new(workloads.of_entry(workload, &ports, &entry.meta)))
            .collect();
        if let Some(selector) = &entry.selector {
            endpoints = workloads.selected(&entry.meta.namespace, selector, &ports);
        }
    }
    let each = 1
        + endpoints.len()
        + entry.addresses.len()
        + entry.ports.len()
        + entry.subject_alt_names.len()
        + entry.export_to.len();
    if !sum.takes(entry.hosts.len() * each, || entry.meta.origin()) {
        return Vec::new();
    }
    let of_host = |(host, endpoints): (&Arc<str>, Vec<Arc<Instance>>)| Service {
        hostname: host.clone(),
        namespace: entry.meta.namespace.clone(),
        addresses: entry.addresses.clone(),
        ports: entry.ports.clone(),
        external: entry.external,
        headless: false,
        original_destination: entry.resolution == Resolution::None,
        endpoints,
        subject_alt_names: entry.subject_alt_names.clone(),
        annotations: Labels::new(),
        template_accounts: Vec::new(),
        expected: Arc::default(),
        namespace_mode: MtlsMode::Permissive,
        export_to: export_to(&entry.export_to, mesh),
        rule: None,
        origin: entry.meta.origin(),
    };
    // The last one takes them without a copy.
    let endpoints = std::iter::repeat_n(endpoints, entry.hosts.len());
    entry.hosts.iter().zip(endpoints).map(of_host).collect()
}

fn of_kubernetes(
    service: &KubernetesService,
    mesh: &MeshConfig,
    workloads: &Workloads<'_>,
    sum: &mut Sum,
) -> Option<Service> {
    if sum.excess().is_some() {
        return None;
    }
    let meta = &service.meta;
    let selector = service.selector.as_ref();
    let endpoints = selector.map(|selector| workloads.selected(&meta.namespace, selector, &service.ports));
    let templates = selector.map(|s| workloads.templates(&meta.namespace, s)).unwrap_or_default();
    let endpoints = endpoints.unwrap_or_default();
    if !sum.takes(1 + endpoints.len() + service.ports.len() + templates.len(), || meta.origin()) {
        return None;
    }
    let written: Vec<Arc<str>> = match meta.annotations.get("networking.istio.io/exportTo") {
        Some(text) => text.split(',').map(|name| name.trim().into()).collect(),
        None => Vec::new(),
    };
    Some(Service {
        hostname: format!("{}.{}.svc.{DOMAIN}", meta.name, meta.namespace).into(),
        namespace: meta.namespace.clone(),
        addresses: service.addresses.iter().map(|ip| IpNet::from(*ip)).collect(),
        ports: service.ports.iter().map(|(port, _)| port.clone()).collect(),
        external: false,
        headless: service.headless,
        original_destination: service.headless,
        endpoints,
        subject_alt_names: Vec::new(),
        annotations: meta.annotations.clone(),
        template_accounts: templates,
        expected: Arc::default(),
        namespace_mode: MtlsMode::Permissive,
        export_to: export_to(&written, mesh),
        rule: None,
        origin: meta.origin(),
    })
}

fn export_to(written: &[Arc<str>], mesh: &MeshConfig) -> Vec<Arc<str>> {
    if written.is_empty() { mesh.default_service_export_to.clone() } else { written.to_vec() }
}
