//! MeshConfig: what holds for the whole mesh. Read from a bootstrap file's `mesh`.

use std::sync::Arc;
use std::time::Duration;

use sidering_identity::TrustDomain;
use sidering_policy::{PathNormalization, TlsVersion};

use crate::read::Reader;
use crate::yaml::{self, Node};
use crate::{Diagnostic, Findings, Severity, Source};

/// MeshConfig fields that are Istio's and do nothing here yet.
const NOT_EXECUTED: &[&str] = &[
    "accessLogEncoding",
    "accessLogFile",
    "accessLogFormat",
    "ca",
    "certificates",
    "configSources",
    "defaultConfig",
    "defaultHttpRetryPolicy",
    "defaultProviders",
    "defaultTrafficPolicy",
    "disableEnvoyListenerLog",
    "discoverySelectors",
    "dnsRefreshRate",
    "enableEnvoyAccessLogService",
    "enablePrometheusMerge",
    "enableTracing",
    "extensionProviders",
    "h2UpgradePolicy",
    "inboundTrafficPolicy",
    "inboundClusterStatName",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "ingressService",
    "localityLbSetting",
    "outboundClusterStatName",
    "proxyHttpPort",
    "proxyInboundListenPort",
    "proxyListenPort",
    "serviceScopeConfigs",
    "serviceSettings",
    "tcpKeepalive",
    "verifyCertificateAtClient",
];

/// The mesh's settings, Istio's defaults where nothing is written.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// `trustDomain`.
    pub trust_domain: TrustDomain,
    /// `trustDomainAliases`.
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// `caCertificates[].trustDomains`: further domains whose peers are believed.
    pub ca_trust_domains: Vec<TrustDomain>,
    /// `rootNamespace`: where mesh-wide resources live.
    pub root_namespace: Arc<str>,
    /// `enableAutoMtls`.
    pub enable_auto_mtls: bool,
    /// `pathNormalization.normalization`.
    pub path_normalization: PathNormalization,
    /// `outboundTrafficPolicy.mode`; a Sidecar's own beats it.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// `protocolDetectionTimeout`; `None` waits for ever, Istio's default.
    pub protocol_detection_timeout: Option<Duration>,
    /// `connectTimeout`; 10 s.
    pub connect_timeout: Duration,
    /// `meshMTLS`: parameters of mesh mTLS, both sides.
    pub mesh_mtls: TlsParameters,
    /// `tlsDefaults`: parameters of SIMPLE and MUTUAL.
    pub tls_defaults: TlsParameters,
    /// `defaultServiceExportTo`; `*` when empty.
    pub default_service_export_to: Vec<Arc<str>>,
    /// `defaultVirtualServiceExportTo`; `*` when empty.
    pub default_virtual_service_export_to: Vec<Arc<str>>,
    /// `defaultDestinationRuleExportTo`; `*` when empty.
    pub default_destination_rule_export_to: Vec<Arc<str>>,
}

/// What happens to traffic for destinations that nothing declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutboundTrafficPolicy {
    /// Passed on to the address dialled.
    #[default]
    AllowAny,
    /// Refused.
    RegistryOnly,
}

/// `minProtocolVersion` and `cipherSuites`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsParameters {
    /// Oldest version spoken.
    pub min_version: TlsVersion,
    /// TLS 1.2 suites; empty takes the default list.
    pub cipher_suites: Vec<Arc<str>>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::parse("cluster.local")
                .expect("Istio's default is a legal trust domain"),
            trust_domain_aliases: Vec::new(),
            ca_trust_domains: Vec::new(),
            root_namespace: "istio-system".into(),
            enable_auto_mtls: true,
            path_normalization: PathNormalization::default(),
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            protocol_detection_timeout: None,
            connect_timeout: Duration::from_secs(10),
            mesh_mtls: TlsParameters::default(),
            tls_defaults: TlsParameters::default(),
            default_service_export_to: Vec::new(),
            default_virtual_service_export_to: Vec::new(),
            default_destination_rule_export_to: Vec::new(),
        }
    }
}

impl MeshConfig {
    /// Reads MeshConfig fields from a YAML document. `key` names the mapping within it that holds them, such as
    /// `mesh` in a bootstrap file; `None` takes the whole document. An absent key gives the defaults. Any error-level
    /// diagnostic means the value must not be used.
    pub fn parse(source: &Source<'_>, key: Option<&str>) -> (Self, Vec<Diagnostic>) {
        let mut mesh = Self::default();
        let mut findings = Findings::default();
        let mut reader =
            Reader { file: source.file.clone(), unknown: Severity::Error, findings: &mut findings };
        match yaml::documents(source) {
            Err(diagnostic) => reader.findings.push(diagnostic),
            Ok(documents) => {
                for document in &documents {
                    match key {
                        None => mesh.read(document, &mut reader),
                        Some(key) => {
                            let entries = reader.entries(document, "the file");
                            if let Some(entry) =
                                entries.iter().find(|entry| entry.key == key && !entry.value.is_null())
                            {
                                mesh.read(&entry.value, &mut reader);
                            }
                        }
                    }
                }
            }
        }
        (mesh, findings.into_sorted())
    }

    /// Reads the fields of a mapping within another document over what `self` says.
    pub fn read(&mut self, node: &Node, r: &mut Reader<'_>) {
        let mut f = r.fields(node, "mesh");
        let domain =
            |n: &Node, r: &mut Reader<'_>| r.text(n, "trustDomain").and_then(|text| read_domain(text, n, r));
        if let Some(value) = f.get("trustDomain").and_then(|n| domain(n, r)) {
            self.trust_domain = value;
        }
        if let Some(n) = f.get("trustDomainAliases") {
            let texts = r.texts(n, "trustDomainAliases");
            self.trust_domain_aliases =
                texts.into_iter().filter_map(|(text, n)| read_domain(text, n, r)).collect();
        }
        if let Some(n) = f.get("rootNamespace") {
            self.root_namespace = r.text(n, "rootNamespace").unwrap_or("istio-system").into();
        }
        if let Some(value) = f.get("enableAutoMtls").and_then(|n| r.boolean(n, "enableAutoMtls")) {
            self.enable_auto_mtls = value;
        }
        if let Some(n) = f.get("pathNormalization") {
            self.path_normalization = read_normalization(n, r);
        }
        if let Some(n) = f.get("outboundTrafficPolicy") {
            self.outbound_traffic_policy = read_outbound_policy(n, r);
        }
        if let Some(n) = f.get("protocolDetectionTimeout") {
            self.protocol_detection_timeout =
                r.duration(n, "protocolDetectionTimeout").filter(|timeout| !timeout.is_zero());
        }
        if let Some(value) = f.get("connectTimeout").and_then(|n| r.duration(n, "connectTimeout")) {
            self.connect_timeout = value;
        }
        if let Some(n) = f.get("meshMTLS") {
            self.mesh_mtls = read_tls_parameters(n, r);
        }
        if let Some(n) = f.get("tlsDefaults") {
            self.tls_defaults = read_tls_parameters(n, r);
        }
        if let Some(n) = f.get("caCertificates") {
            self.ca_trust_domains = read_ca_certificates(n, r);
        }
        for (name, field) in [
            ("defaultServiceExportTo", &mut self.default_service_export_to),
            ("defaultVirtualServiceExportTo", &mut self.default_virtual_service_export_to),
            ("defaultDestinationRuleExportTo", &mut self.default_destination_rule_export_to),
        ] {
            if let Some(n) = f.get(name) {
                *field = r.names(n, name);
            }
        }
        f.later(NOT_EXECUTED, r);
        f.done(r);
    }

    /// The trust domains that a peer's identity may be in: ours, its aliases, those of further CAs, each once.
    pub fn trust_domains(&self) -> Vec<TrustDomain> {
        let mut domains: Vec<TrustDomain> = Vec::new();
        let all = std::iter::once(&self.trust_domain)
            .chain(&self.trust_domain_aliases)
            .chain(&self.ca_trust_domains);
        for domain in all {
            if !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        domains
    }
}

fn read_domain(text: &str, node: &Node, r: &mut Reader<'_>) -> Option<TrustDomain> {
    // Istio writes an `@` in a trust domain as `.`.
    let domain = TrustDomain::parse(&text.replace('@', "."));
    domain.map_err(|error| r.error(node, error.to_string())).ok()
}

fn read_normalization(node: &Node, r: &mut Reader<'_>) -> PathNormalization {
    let mut f = r.fields(node, "pathNormalization");
    let words = [
        ("DEFAULT", PathNormalization::Base),
        ("BASE", PathNormalization::Base),
        ("NONE", PathNormalization::None),
        ("MERGE_SLASHES", PathNormalization::MergeSlashes),
        ("DECODE_AND_MERGE_SLASHES", PathNormalization::DecodeAndMergeSlashes),
    ];
    let mode = f.get("normalization").and_then(|n| r.one_of(n, "normalization", &words));
    f.done(r);
    mode.unwrap_or_default()
}

/// A policy without a mode is REGISTRY_ONLY, proto's zero value; the default, ALLOW_ANY, is for where there is none.
pub(crate) fn read_outbound_policy(node: &Node, r: &mut Reader<'_>) -> OutboundTrafficPolicy {
    let mut f = r.fields(node, "outboundTrafficPolicy");
    let words = [
        ("ALLOW_ANY", OutboundTrafficPolicy::AllowAny),
        ("REGISTRY_ONLY", OutboundTrafficPolicy::RegistryOnly),
    ];
    let mode = f.get("mode").and_then(|n| r.one_of(n, "mode", &words));
    f.later(&["egressProxy"], r);
    f.done(r);
    mode.unwrap_or(OutboundTrafficPolicy::RegistryOnly)
}

fn read_tls_parameters(node: &Node, r: &mut Reader<'_>) -> TlsParameters {
    let mut f = r.fields(node, "TLS settings");
    let words =
        [("TLS_AUTO", TlsVersion::Tls12), ("TLSV1_2", TlsVersion::Tls12), ("TLSV1_3", TlsVersion::Tls13)];
    let min_version = f.get("minProtocolVersion").and_then(|n| r.one_of(n, "minProtocolVersion", &words));
    let cipher_suites = f.get("cipherSuites").map(|n| r.names(n, "cipherSuites")).unwrap_or_default();
    f.later(&["ecdhCurves"], r);
    f.done(r);
    TlsParameters { min_version: min_version.unwrap_or_default(), cipher_suites }
}

fn read_ca_certificates(node: &Node, r: &mut Reader<'_>) -> Vec<TrustDomain> {
    let mut domains = Vec::new();
    for item in r.list(node, "caCertificates") {
        let mut f = r.fields(item, "caCertificates");
        if let Some(n) = f.get("trustDomains") {
            let texts = r.texts(n, "trustDomains");
            domains.extend(texts.into_iter().filter_map(|(text, n)| read_domain(text, n, r)));
        }
        // The workload's bundle is the only source of roots so far: fewer peers are believed, not more.
        f.later(&["pem", "spiffeBundleUrl", "certSigners"], r);
        f.done(r);
    }
    domains
}

#[cfg(test)]
mod tests;
