//! MeshConfig: what holds for the whole mesh (istio-semantics 0 and 6.4). Read from a bootstrap file's `mesh`.

use std::sync::Arc;
use std::time::Duration;

use sidering_identity::TrustDomain;
use sidering_policy::{PathNormalization, TlsVersion};

use crate::{Diagnostic, Source};

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
    pub fn parse(_source: &Source<'_>, _key: Option<&str>) -> (Self, Vec<Diagnostic>) {
        todo!()
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
