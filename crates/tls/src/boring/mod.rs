//! The BoringSSL backend: configurations, ticket keys and client sessions out of plain DER.

mod failure;
mod ffi;
mod session;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::pkey::{PKey, Private};
use boring::rand::rand_bytes;
use boring::ssl::{
    AlpnError, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef, SslSession,
    SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use boring::x509::store::{X509Store, X509StoreBuilder};
use boring::x509::verify::{X509CheckFlags, X509VerifyFlags};
use boring::x509::{X509, X509StoreContextRef, X509VerifyError};
use sidering_identity::{Bundle, CertificateChain};
use zeroize::Zeroizing;

use crate::leaf::presents_any;
use crate::{ClientParameters, ClientTrust, ConfigFailure, Failure, ServerParameters, Version};

pub(crate) use session::Connection;

/// Key exchange groups, the preferred one first; the same as with rustls.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256";

/// TLS 1.2 suites in Istio's order of preference, then what it does not have by default; the same as with rustls.
const CIPHER_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Client sessions kept per configuration, and per name.
const NAMES: usize = 256;
const PER_NAME: usize = 8;

#[derive(Clone)]
pub(crate) struct Server(SslContext);

#[derive(Clone)]
pub(crate) struct Client {
    context: SslContext,
    sessions: Arc<Sessions>,
    /// The host that is dialled must be in the certificate.
    checks_host: bool,
}

/// None: no random bytes, so no tickets.
pub(crate) struct Tickets(Option<Zeroizing<[u8; ffi::TICKET_KEYS]>>);

impl Tickets {
    pub(crate) fn new() -> Self {
        let mut keys = Zeroizing::new([0; ffi::TICKET_KEYS]);
        Self(rand_bytes(&mut *keys).is_ok().then_some(keys))
    }
}

impl Server {
    pub(crate) fn build(from: &ServerParameters<'_>, alpn: Vec<Vec<u8>>) -> Result<Self, ConfigFailure> {
        let mut context = context(from.min_version, from.cipher_suites)?;
        present(&mut context, from.chain)?;
        context.set_cert_store(store(from.clients)?);
        for root in certificates(&from.clients.roots).map_err(bundle)? {
            context.add_client_ca(&root).map_err(bundle)?;
        }
        context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        // Without one BoringSSL resumes no session whose client was verified.
        context.set_session_id_context(b"sidering").map_err(other)?;
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        match &from.tickets.boring().0 {
            Some(keys) => ffi::set_ticket_keys(&mut context, keys).map_err(other)?,
            None => _ = context.set_options(SslOptions::NO_TICKET),
        }
        ffi::set_ticket_count(&mut context, 1).map_err(other)?;
        // Where nothing overlaps the handshake goes on without a protocol, as with Envoy.
        context.set_alpn_select_callback(move |_, offered| select(&alpn, offered).ok_or(AlpnError::NOACK));
        Ok(Self(context.build()))
    }

    pub(crate) fn session(&self, _offered: &[Box<str>]) -> Result<Connection, Failure> {
        let ssl = Ssl::new(&self.0).map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Connection::server(ssl))
    }
}

impl Client {
    pub(crate) fn build(from: &ClientParameters<'_>, alpn: Vec<Vec<u8>>) -> Result<Self, ConfigFailure> {
        let mut context = context(from.min_version, from.cipher_suites)?;
        if let Some(chain) = from.certificate {
            present(&mut context, chain)?;
        }
        match from.trust {
            ClientTrust::Chain(roots) | ClientTrust::Host(roots, []) => {
                context.set_cert_store(store(roots)?);
                context.set_verify(SslVerifyMode::PEER);
            }
            ClientTrust::Host(roots, names) => {
                context.set_cert_store(store(roots)?);
                let names = names.to_vec();
                context.set_verify_callback(SslVerifyMode::PEER, move |good, chain| {
                    good && is_named(chain, &names)
                });
            }
            ClientTrust::Unverified => context.set_verify(SslVerifyMode::NONE),
        }
        if !alpn.is_empty() {
            context.set_alpn_protos(&wire(&alpn)).map_err(other)?;
        }
        let sessions = Arc::new(Sessions::default());
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        let keep = sessions.clone();
        context.set_new_session_callback(move |ssl, session| keep.put(ssl, session));
        let checks_host = matches!(from.trust, ClientTrust::Host(_, []));
        Ok(Self { context: context.build(), sessions, checks_host })
    }

    pub(crate) fn session(&self, server_name: Option<&str>) -> Result<Connection, Failure> {
        let other = |error: ErrorStack| Failure::Other(error.to_string());
        let mut ssl = Ssl::new(&self.context).map_err(other)?;
        let address = server_name.and_then(|name| name.parse::<IpAddr>().ok());
        // An address is never sent as SNI.
        if let (Some(name), None) = (server_name, address) {
            ssl.set_hostname(name).map_err(other)?;
        }
        if self.checks_host {
            let expected = ssl.verify_param_mut();
            // Of a certificate without alternative names the subject would count (RFC 6125 6.4.4); it is no name here.
            expected
                .set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
            match (server_name, address) {
                (_, Some(address)) => expected.set_ip(address).map_err(other)?,
                (Some(name), None) => expected.set_host(name).map_err(other)?,
                (None, None) => return Err(Failure::NameMismatch),
            }
        }
        let name = server_name.unwrap_or_default();
        ssl.set_ex_data(*DIALLED, name.into());
        if let Some(session) = self.sessions.take(name) {
            ffi::offer_session(&mut ssl, &session).map_err(other)?;
        }
        Ok(Connection::client(ssl))
    }
}

/// Where a connection keeps the name it was dialled by. One for all configurations: BoringSSL never takes an index
/// back, and each makes every connection larger.
static DIALLED: LazyLock<Index<Ssl, Box<str>>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("a first index needs nothing but memory"));

/// Sessions that servers gave this configuration, by server name. Each is used once (RFC 8446 C.4).
#[derive(Default)]
struct Sessions {
    kept: Mutex<HashMap<Box<str>, VecDeque<SslSession>>>,
}

impl Sessions {
    fn put(&self, ssl: &SslRef, session: SslSession) {
        let Some(name) = ssl.ex_data(*DIALLED) else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == NAMES && !kept.contains_key(name) {
            kept.clear();
        }
        let sessions = kept.entry(name.clone()).or_default();
        if sessions.len() == PER_NAME {
            sessions.pop_front();
        }
        sessions.push_back(session);
    }

    fn take(&self, name: &str) -> Option<SslSession> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name)?.pop_back()
    }
}

fn context(min: Version, suites: &[Arc<str>]) -> Result<SslContextBuilder, ConfigFailure> {
    let mut context = SslContext::builder(SslMethod::tls()).map_err(other)?;
    let min = match min {
        Version::Tls12 => SslVersion::TLS1_2,
        Version::Tls13 => SslVersion::TLS1_3,
    };
    context.set_min_proto_version(Some(min)).map_err(other)?;
    context.set_max_proto_version(Some(SslVersion::TLS1_3)).map_err(other)?;
    context.set_curves_list(GROUPS).map_err(other)?;
    set_cipher_suites(&mut context, suites)?;
    Ok(context)
}

/// By OpenSSL's or IANA's names; of TLS 1.3 all suites are always on.
fn set_cipher_suites(context: &mut SslContextBuilder, names: &[Arc<str>]) -> Result<(), ConfigFailure> {
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    for name in &names {
        if !CIPHER_SUITES.iter().any(|openssl| openssl == name || iana_name(openssl) == *name) {
            return Err(ConfigFailure::CipherSuite {
                name: (*name).to_owned(),
                supported: CIPHER_SUITES.join(", "),
            });
        }
    }
    let list = if names.is_empty() { CIPHER_SUITES.join(":") } else { names.join(":") };
    context.set_strict_cipher_list(&list).map_err(other)
}

/// `ECDHE-ECDSA-AES256-GCM-SHA384` is `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`.
fn iana_name(openssl: &str) -> String {
    let spelled =
        openssl.replace("AES", "AES-").replace("-CHACHA20", "-WITH-CHACHA20").replace("-AES-", "-WITH-AES-");
    let hash = if openssl.ends_with("POLY1305") { "_SHA256" } else { "" };
    format!("TLS_{}{hash}", spelled.replace('-', "_"))
}

fn present(context: &mut SslContextBuilder, chain: &CertificateChain) -> Result<(), ConfigFailure> {
    let certificate = |error: ErrorStack| ConfigFailure::Certificate(error.to_string());
    let key: PKey<Private> =
        PKey::private_key_from_der(&chain.key).map_err(|error| ConfigFailure::Key(error.to_string()))?;
    let mut certificates = certificates(&chain.certificates).map_err(certificate)?.into_iter();
    let leaf = certificates.next().ok_or_else(|| ConfigFailure::Certificate("the chain is empty".into()))?;
    let public = leaf.public_key().map_err(certificate)?;
    if !public.public_eq(&key) {
        return Err(ConfigFailure::KeyMismatch);
    }
    context.set_certificate(&leaf).map_err(certificate)?;
    for issuer in certificates {
        context.add_extra_chain_cert(issuer).map_err(certificate)?;
    }
    context.set_private_key(&key).map_err(|error| ConfigFailure::Key(error.to_string()))
}

fn certificates(ders: &[Vec<u8>]) -> Result<Vec<X509>, ErrorStack> {
    ders.iter().map(|der| X509::from_der(der)).collect()
}

fn store(roots: &Bundle) -> Result<X509Store, ConfigFailure> {
    if roots.roots.is_empty() {
        return Err(ConfigFailure::Bundle("it has no certificate".into()));
    }
    let mut store = X509StoreBuilder::new().map_err(other)?;
    for root in certificates(&roots.roots).map_err(bundle)? {
        store.add_cert(&root).map_err(bundle)?;
    }
    // Whatever is in the bundle is a root, an intermediate too; as with Envoy and rustls.
    store.try_set_flags(X509VerifyFlags::PARTIAL_CHAIN).map_err(other)?;
    Ok(store.build())
}

/// The chain is good; at its end, is the leaf one of `names`?
fn is_named(chain: &mut X509StoreContextRef, names: &[Arc<str>]) -> bool {
    if chain.error_depth() != 0 {
        return true;
    }
    let der = chain.current_cert().and_then(|leaf| leaf.to_der().ok());
    let named = der.is_some_and(|der| presents_any(&der, names).unwrap_or(false));
    if !named {
        chain.set_error(Err(X509VerifyError::HOSTNAME_MISMATCH));
    }
    named
}

/// The first of ours that the client offers, as a part of what it offers.
fn select<'a>(ours: &[Vec<u8>], mut offered: &'a [u8]) -> Option<&'a [u8]> {
    let names: Vec<&[u8]> = std::iter::from_fn(|| {
        let (&length, rest) = offered.split_first()?;
        let (name, rest) = rest.split_at_checked(length.into())?;
        offered = rest;
        Some(name)
    })
    .collect();
    ours.iter().find_map(|own| names.iter().copied().find(|name| name == own))
}

/// A length before each name.
fn wire(alpn: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for name in alpn {
        wire.push(u8::try_from(name.len()).expect("names were checked to be at most 255 bytes long"));
        wire.extend_from_slice(name);
    }
    wire
}

fn bundle(error: ErrorStack) -> ConfigFailure {
    ConfigFailure::Bundle(error.to_string())
}

fn other(error: ErrorStack) -> ConfigFailure {
    ConfigFailure::Other(error.to_string())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server(boring)")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(boring)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_use_up_nothing_that_is_never_given_back() {
        let parameters = ClientParameters {
            certificate: None,
            trust: ClientTrust::Unverified,
            alpn: &[],
            min_version: Version::Tls12,
            cipher_suites: &[],
        };
        let visit = || {
            let client = Client::build(&parameters, Vec::new()).expect("nothing is wrong with it");
            client.session(Some("server.test")).expect("nor with the name");
        };
        let next_index = || Ssl::new_ex_index::<()>().expect("there is memory").as_raw();
        visit();
        let before = next_index();
        (0..10).for_each(|_| visit());
        assert_eq!(next_index(), before + 1);
    }
}
