//! `tls` of a DestinationRule: how a client speaks to the service.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sidering_policy::{Origin, Position};

use super::meta::Meta;
use super::service_entry::read_names_at;
use crate::read::Reader;
use crate::yaml::Node;

/// How a client speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// It verifies the server.
    Simple,
    /// And presents a certificate of its own.
    Mutual,
    /// Mesh mTLS: it presents the workload's.
    IstioMutual,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "DISABLE",
            Self::Simple => "SIMPLE",
            Self::Mutual => "MUTUAL",
            Self::IstioMutual => "ISTIO_MUTUAL",
        })
    }
}

/// A file that a rule names, and the line that does.
#[derive(Clone, Debug)]
pub(crate) struct FileAt {
    pub(crate) path: PathBuf,
    pub(crate) position: Position,
}

#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    pub(crate) mode: TlsMode,
    pub(crate) client_certificate: Option<FileAt>,
    pub(crate) private_key: Option<FileAt>,
    pub(crate) ca_certificates: Option<FileAt>,
    pub(crate) sni: Option<Arc<str>>,
    pub(crate) subject_alt_names: Vec<(Arc<str>, Position)>,
    pub(crate) insecure_skip_verify: bool,
    /// `credentialName`: legal, and there is no secret store to take it from.
    pub(crate) credential: Option<(Arc<str>, Position)>,
    /// The rule, at the line of its mode.
    pub(crate) origin: Origin,
}

pub(crate) fn read(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> Option<ClientTls> {
    let mut f = r.fields(node, "tls");
    let words = [
        ("DISABLE", TlsMode::Disable),
        ("SIMPLE", TlsMode::Simple),
        ("MUTUAL", TlsMode::Mutual),
        ("ISTIO_MUTUAL", TlsMode::IstioMutual),
    ];
    let at = f.get("mode");
    let mode = match at {
        Some(n) => r.one_of(n, "mode", &words),
        None => Some(TlsMode::Disable),
    };
    let mut file = |name: &'static str, r: &mut Reader<'_>| {
        let n = f.get(name)?;
        let path = r.text(n, name)?.into();
        Some(FileAt { path, position: r.position(n) })
    };
    let client_certificate = file("clientCertificate", r);
    let private_key = file("privateKey", r);
    let ca_certificates = file("caCertificates", r);
    let crl = f.get("caCrl");
    let sni = f.get("sni").and_then(|n| r.text(n, "sni")).map(Arc::from);
    let names = f.get("subjectAltNames");
    let subject_alt_names = names.map(|n| read_names_at(n, "subjectAltNames", r)).unwrap_or_default();
    let skip = f.get("insecureSkipVerify");
    let insecure_skip_verify = skip.and_then(|n| r.boolean(n, "insecureSkipVerify")).unwrap_or(false);
    let credential =
        f.get("credentialName").and_then(|n| Some((r.text(n, "credentialName")?.into(), r.position(n))));
    f.done(r);
    let tls = ClientTls {
        mode: mode?,
        client_certificate,
        private_key,
        ca_certificates,
        sni,
        subject_alt_names,
        insecure_skip_verify,
        credential,
        origin: meta.origin_at(&r.position(at.unwrap_or(node))),
    };
    validate(&tls, node, crl, meta, r);
    Some(tls)
}

fn validate(tls: &ClientTls, node: &Node, crl: Option<&Node>, meta: &Meta, r: &mut Reader<'_>) {
    let own_files = tls.client_certificate.is_some() || tls.private_key.is_some();
    let uses_files = matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual);
    if let Some((name, _)) = tls.credential.as_ref().filter(|_| uses_files) {
        if own_files || tls.ca_certificates.is_some() || crl.is_some() {
            r.error(node, "credentialName excludes clientCertificate, privateKey, caCertificates and caCrl");
        }
        if let Some(path) = name.strip_prefix("configmap://").filter(|path| path.contains('/'))
            && !path.starts_with(&format!("{}/", meta.namespace))
        {
            r.error(
                node,
                format!("credentialName {name:?} must be in the rule's namespace {}", meta.namespace),
            );
        }
    }
    if tls.mode == TlsMode::Mutual && tls.credential.is_none() {
        for (missing, name) in [
            (tls.client_certificate.is_none(), "clientCertificate"),
            (tls.private_key.is_none(), "privateKey"),
        ] {
            if missing {
                r.error(
                    node,
                    format!(
                        "mode MUTUAL needs a `{name}` file; or write ISTIO_MUTUAL for the workload's own"
                    ),
                );
            }
        }
    }
    if tls.insecure_skip_verify && uses_files {
        let credential = tls.mode == TlsMode::Simple && tls.credential.is_some();
        if tls.ca_certificates.is_some() || credential || !tls.subject_alt_names.is_empty() {
            r.error(
                node,
                "insecureSkipVerify verifies nothing: remove it, or remove caCertificates, credentialName and subjectAltNames",
            );
        }
    }
    if let Some(n) = crl.filter(|_| uses_files && tls.credential.is_none()) {
        r.error(n, "caCrl is not supported: revoked certificates would be taken; remove it");
    }
    if tls.mode == TlsMode::IstioMutual && (own_files || tls.ca_certificates.is_some()) {
        r.warning(node, "certificate files have no meaning under ISTIO_MUTUAL; remove them or write MUTUAL");
    }
}
