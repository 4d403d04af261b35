//! What is refused before any connection.

use sidering_identity::{Bundle, CertificateChain};
use sidering_tls::{
    Backend, ClientParameters, ClientTrust, ConfigFailure, ServerParameters, TicketKeys, Version,
};

use crate::pair::{Pair, names};
use crate::pki::{Authority, SERVER};

fn server(backend: Backend, chain: &CertificateChain, clients: &Bundle) -> Option<ConfigFailure> {
    let parameters = ServerParameters {
        chain,
        clients,
        alpn: &[],
        min_version: Version::Tls12,
        cipher_suites: &[],
        tickets: &TicketKeys::new(),
    };
    backend.server_config(&parameters).err()
}

fn client(backend: Backend, chain: &CertificateChain, roots: &Bundle) -> Option<ConfigFailure> {
    let parameters = ClientParameters {
        certificate: Some(chain),
        trust: ClientTrust::Chain(roots),
        alpn: &[],
        min_version: Version::Tls12,
        cipher_suites: &[],
    };
    backend.client_config(&parameters).err()
}

#[test]
fn a_key_must_fit_its_certificate() {
    let authority = Authority::new("root");
    let (one, other) = (authority.leaf(SERVER, |_| {}), authority.leaf(SERVER, |_| {}));
    let mixed = CertificateChain { certificates: one.certificates.clone(), key: other.key.clone() };
    for &backend in Backend::compiled() {
        for build in [server, client] {
            assert_eq!(build(backend, &one, &authority.bundle()), None);
            assert_eq!(build(backend, &mixed, &authority.bundle()), Some(ConfigFailure::KeyMismatch));
        }
    }
}

#[test]
fn broken_parts_are_named() {
    let authority = Authority::new("root");
    let (good, bundle) = (authority.leaf(SERVER, |_| {}), authority.bundle());
    let junk = || vec![b"junk".to_vec()];
    let no_certificate = CertificateChain { certificates: vec![], key: good.key.clone() };
    let bad_certificate = CertificateChain { certificates: junk(), key: good.key.clone() };
    let bad_key = CertificateChain {
        certificates: good.certificates.clone(),
        key: std::sync::Arc::new(b"junk".to_vec().into()),
    };
    for &backend in Backend::compiled() {
        for build in [server, client] {
            for chain in [&no_certificate, &bad_certificate] {
                assert!(matches!(build(backend, chain, &bundle), Some(ConfigFailure::Certificate(_))));
            }
            assert!(matches!(build(backend, &bad_key, &bundle), Some(ConfigFailure::Key(_))));
            for roots in [vec![], junk()] {
                assert!(matches!(build(backend, &good, &Bundle { roots }), Some(ConfigFailure::Bundle(_))));
            }
        }
    }
}

#[test]
fn cipher_suites_and_alpn_names_are_checked() {
    for &backend in Backend::compiled() {
        let mut pair = Pair::new(backend, backend);
        pair.server_suites = names(&["ECDHE-ECDSA-AES256-GCM-SHA384", "RC4-MD5"]);
        let parameters = ServerParameters {
            chain: &pair.server_chain,
            clients: &pair.server_roots,
            alpn: &[],
            min_version: Version::Tls12,
            cipher_suites: &pair.server_suites,
            tickets: &pair.tickets,
        };
        let refused = backend.server_config(&parameters).err();
        assert!(
            matches!(&refused, Some(ConfigFailure::CipherSuite { name, .. }) if name == "RC4-MD5"),
            "{refused:?}"
        );
        for alpn in [String::new(), "x".repeat(256)] {
            let parameters = ServerParameters { alpn: &names(&[&alpn]), cipher_suites: &[], ..parameters };
            assert_eq!(backend.server_config(&parameters).err(), Some(ConfigFailure::Alpn(alpn)));
        }
    }
}

#[test]
fn an_unknown_backend_is_told_which_there_are() {
    let refused = "openssl".parse::<Backend>().unwrap_err().to_string();
    for backend in Backend::compiled() {
        assert!(refused.contains(&backend.to_string()), "{refused}");
        assert_eq!(backend.to_string().parse(), Ok(*backend));
    }
}
