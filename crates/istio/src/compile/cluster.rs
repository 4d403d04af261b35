//! Clusters: a service's subset at a port, with how TLS is spoken to each endpoint.

use std::sync::Arc;
use std::time::Duration;

use sidering_identity::ExpectedSans;
use sidering_policy::{
    BalancerKind, ClientCertificate, Cluster, Discovery, Endpoint, Origin, Sni, Trust, UpstreamAlpn,
    UpstreamTls,
};

use super::Compiler;
use crate::Effective;
use crate::effective::{Instance, Service, expected_of_entry, expected_of_rule};
use crate::resource::{Balancer, ClientTls, MtlsMode, Settings, Subset, TlsMode, is_selected};

/// Istio's default for idle upstream connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) const PASSTHROUGH: &str = "PassthroughCluster";
pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";

/// How TLS is spoken to the endpoints of a cluster.
enum Towards {
    /// Plaintext, or one way for all.
    All(Option<Arc<UpstreamTls>>),
    /// Auto mTLS: to those that can.
    Each(Arc<UpstreamTls>),
}

/// What a cluster is of.
struct Target<'s> {
    service: &'s Service,
    subset: Option<&'s Subset>,
    port: u16,
    settings: Settings,
}

impl Compiler<'_> {
    /// The name of the cluster for a host, subset and port. It exists afterwards if the service, its port and its
    /// subset do; a route to one that does not is answered with 503 (NC).
    pub(super) fn cluster(&mut self, host: &str, subset: Option<&str>, port: u16) -> Arc<str> {
        let name: Arc<str> = format!("outbound|{port}|{}|{host}", subset.unwrap_or_default()).into();
        if self.clusters.contains_key(&name) {
            return name;
        }
        let Some(target) = target(self.effective, host, subset, port) else { return name };
        if let Some(cluster) = self.service_cluster(name.clone(), &target) {
            self.clusters.insert(name.clone(), Arc::new(cluster));
        }
        name
    }

    /// TLS towards the endpoints of such a cluster that support it.
    pub(super) fn tls_of(&mut self, host: &str, subset: Option<&str>, port: u16) -> Option<Arc<UpstreamTls>> {
        let target = target(self.effective, host, subset, port)?;
        match self.towards(&target, &target.instances())? {
            Towards::All(tls) => tls,
            Towards::Each(tls) => Some(tls),
        }
    }

    fn service_cluster(&mut self, name: Arc<str>, target: &Target<'_>) -> Option<Cluster> {
        let Target { service, subset, port, settings } = target;
        let instances = target.instances();
        self.multiplies(1 + instances.len(), &service.origin)?;
        let towards = self.towards(target, &instances)?;
        let rule = service.rule.as_deref();
        let side = rule.and_then(|rule| rule.endpoint_mode(*subset, *port));
        let endpoints = instances.iter().filter_map(|instance| {
            let tls = match &towards {
                Towards::All(tls) => tls.clone(),
                Towards::Each(tls) => takes_mtls(instance, *port, side).then(|| tls.clone()),
            };
            let address = instance.address(*port)?;
            Some(Arc::new(Endpoint {
                address,
                weight: instance.weight,
                tls,
                origin: instance.origin.clone(),
            }))
        });
        let pool = settings.pool.clone().unwrap_or_default();
        let mesh = &self.effective.mesh;
        // Zero switches a limit off.
        let limit =
            |idle: Option<Duration>| Some(idle.unwrap_or(IDLE_TIMEOUT)).filter(|idle| !idle.is_zero());
        Some(Cluster {
            name,
            discovery: Discovery::Static(endpoints.collect()),
            balancer: match settings.balancer {
                Some(Balancer::Kind(kind)) => kind,
                _ => BalancerKind::default(),
            },
            connect_timeout: pool.connect_timeout.unwrap_or(mesh.connect_timeout),
            idle_timeout: limit(pool.idle_timeout),
            tcp_idle_timeout: limit(pool.tcp_idle_timeout),
            max_connections: pool.max_connections,
            max_requests_per_connection: pool.max_requests_per_connection,
            origin: service
                .port(*port)
                .map_or_else(|| service.origin.clone(), |port| service.origin_at(&port.position)),
        })
    }

    /// `None`: it cannot be made, and the diagnostics say why.
    fn towards(&mut self, target: &Target<'_>, instances: &[&Instance]) -> Option<Towards> {
        let service = target.service;
        if let Some(tls) = &target.settings.tls {
            return self.by_rule(tls, target).map(Towards::All);
        }
        let namespace_off = service.namespace_mode == MtlsMode::Disable;
        if service.external || !self.effective.mesh.enable_auto_mtls || namespace_off {
            return Some(Towards::All(None));
        }
        let mesh_tls = Arc::new(self.mesh_tls(target, None, &Origin::default_of("auto mTLS")));
        if service.original_destination || target.settings.balancer == Some(Balancer::Passthrough) {
            // One decision for all: plaintext if anybody, or nobody, is there who cannot.
            let able = !instances.is_empty() && instances.iter().all(|instance| instance.has_sidecar);
            return Some(Towards::All(able.then_some(mesh_tls)));
        }
        Some(Towards::Each(mesh_tls))
    }

    /// What a DestinationRule says: `Some(None)` is plaintext.
    fn by_rule(&mut self, tls: &ClientTls, target: &Target<'_>) -> Option<Option<Arc<UpstreamTls>>> {
        match tls.mode {
            TlsMode::Disable => Some(None),
            TlsMode::IstioMutual => Some(Some(Arc::new(self.mesh_tls(target, Some(tls), &tls.origin)))),
            TlsMode::Simple | TlsMode::Mutual => self.own_tls(tls, target).map(|tls| Some(Arc::new(tls))),
        }
    }

    fn mesh_tls(&self, target: &Target<'_>, tls: Option<&ClientTls>, origin: &Origin) -> UpstreamTls {
        let service = target.service;
        let names = tls.map(|tls| tls.subject_alt_names.as_slice()).unwrap_or_default();
        let subset = target.subset.map(|subset| &*subset.name).unwrap_or_default();
        let generated = || format!("outbound_.{}_.{subset}_.{}", target.port, service.hostname).into();
        let parameters = &self.effective.mesh.mesh_mtls;
        UpstreamTls {
            certificate: ClientCertificate::Workload,
            trust: Trust::Mesh,
            sni: Sni::Fixed(tls.and_then(|tls| tls.sni.clone()).unwrap_or_else(generated)),
            sans: if names.is_empty() { service.expected.clone() } else { Arc::new(expected_of_rule(names)) },
            alpn: UpstreamAlpn::Mesh,
            min_version: parameters.min_version,
            cipher_suites: parameters.cipher_suites.clone(),
            origin: origin.clone(),
        }
    }

    /// SIMPLE and MUTUAL.
    fn own_tls(&mut self, tls: &ClientTls, target: &Target<'_>) -> Option<UpstreamTls> {
        if let Some((name, position)) = &tls.credential {
            // Istio's sidecar would speak plaintext here.
            self.error(position, format!("credentialName {name:?} is not supported: there is no secret store; name files in clientCertificate, privateKey and caCertificates"));
            return None;
        }
        let certificate = match (tls.mode, &tls.client_certificate, &tls.private_key) {
            (TlsMode::Mutual, Some(certificate), Some(key)) => {
                ClientCertificate::Files(self.client_chain(certificate, key)?)
            }
            _ => ClientCertificate::None,
        };
        let position = super::position_of(&tls.origin);
        let trust = match (&tls.ca_certificates, tls.insecure_skip_verify) {
            (_, true) => Trust::Unverified,
            (Some(file), false) => Trust::Roots(self.roots(file)?),
            (None, false) => Trust::Roots(self.system_roots(&position)?),
        };
        let sans = match tls.subject_alt_names.is_empty() {
            false => expected_of_rule(&tls.subject_alt_names),
            true if tls.insecure_skip_verify => ExpectedSans::default(),
            true => expected_of_entry(target.service),
        };
        let parameters = &self.effective.mesh.tls_defaults;
        Some(UpstreamTls {
            certificate,
            trust,
            sni: tls.sni.clone().map_or(Sni::RequestHost, Sni::Fixed),
            sans: Arc::new(sans),
            // Towards HTTP/2 upstreams `h2` joins when it is spoken there.
            alpn: UpstreamAlpn::Fixed(Vec::new()),
            min_version: parameters.min_version,
            cipher_suites: parameters.cipher_suites.clone(),
            origin: tls.origin.clone(),
        })
    }

    /// A cluster that has one way to answer, whoever asks.
    pub(super) fn fixed_cluster(&mut self, name: &str, discovery: Discovery, origin: &Origin) -> Arc<str> {
        let name: Arc<str> = name.into();
        let connect_timeout = self.effective.mesh.connect_timeout;
        let cluster = || {
            Arc::new(Cluster {
                name: name.clone(),
                discovery,
                balancer: BalancerKind::default(),
                connect_timeout,
                idle_timeout: Some(IDLE_TIMEOUT),
                tcp_idle_timeout: Some(IDLE_TIMEOUT),
                max_connections: None,
                max_requests_per_connection: None,
                origin: origin.clone(),
            })
        };
        self.clusters.entry(name.clone()).or_insert_with(cluster);
        name
    }
}

impl<'s> Target<'s> {
    fn instances(&self) -> Vec<&'s Instance> {
        let subset = self.subset;
        let within =
            |instance: &&Instance| subset.is_none_or(|subset| is_selected(&subset.labels, &instance.labels));
        self.service.endpoints.iter().map(|instance| &**instance).filter(within).collect()
    }
}

/// `None`: the service, its port or the subset is not declared.
fn target<'e>(effective: &'e Effective, host: &str, subset: Option<&str>, port: u16) -> Option<Target<'e>> {
    let service = effective.service(host).filter(|service| service.port(port).is_some())?;
    let rule = service.rule.as_deref();
    let subset = match subset {
        Some(wanted) => Some(&**rule?.subset(wanted)?),
        None => None,
    };
    let settings = rule.map(|rule| rule.settings(subset, port)).unwrap_or_default();
    Some(Target { service, subset, port, settings })
}

/// Auto mTLS, per endpoint. `side` is a quirk of Istio's: a rule's top-level mode still labels the endpoints of a port whose entry leaves TLS out.
fn takes_mtls(instance: &Instance, port: u16, side: Option<TlsMode>) -> bool {
    if let Some(mode) = side {
        return mode == TlsMode::IstioMutual;
    }
    let workload_port = instance.ports.get(&port).copied().unwrap_or(port);
    instance.has_sidecar && instance.authentication.at(workload_port).mode != MtlsMode::Disable
}
