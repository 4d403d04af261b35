//! TLS 1.2. Our own two sides always agree on 1.3, so the other side here is rustls by itself, held to 1.2.

use std::sync::Arc;

use rcgen::SanType;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS12;
use rustls::{ClientConnection, HandshakeKind, RootCertStore, ServerConnection};
use sidering_identity::{Bundle, CertificateChain, read_leaf};
use sidering_tls::{Backend, Failure, Handshake, ServerConfig, TicketKeys, Version, accept, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::pair::{Pair, both, names, run, soon};
use crate::pki::{Authority, CLIENT, SERVER};

/// Is it that failure?
type Expected = fn(&Failure) -> bool;

const ECDSA_256: &str = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";

fn each_backend(test: impl AsyncFn(Pair)) {
    for &backend in Backend::compiled() {
        println!("{backend}");
        let mut pair = Pair::new(backend, backend);
        let authority = Authority::new("root");
        (pair.client_roots, pair.server_roots) = (authority.bundle(), authority.bundle());
        pair.client_chain = Some(authority.leaf(CLIENT, |_| {}));
        pair.server_chain = authority.leaf(SERVER, |params| {
            params.subject_alt_names.push(SanType::DnsName("server.test".try_into().unwrap()));
        });
        run(test(pair));
    }
}

fn roots(bundle: &Bundle) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(bundle.roots.iter().map(|der| CertificateDer::from_slice(der)));
    store
}

fn parts(chain: &CertificateChain) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificates = chain.certificates.iter().map(|der| CertificateDer::from_slice(der).into_owned());
    (certificates.collect(), PrivateKeyDer::try_from(chain.key.as_slice()).unwrap().clone_key())
}

fn old_client(pair: &Pair) -> Arc<rustls::ClientConfig> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots(&pair.client_roots));
    Arc::new(match &pair.client_chain {
        Some(chain) => {
            let (certificates, key) = parts(chain);
            builder.with_client_auth_cert(certificates, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

fn old_server(pair: &Pair) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(default_provider());
    let roots = Arc::new(roots(&pair.server_roots));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().unwrap();
    let (certificates, key) = parts(&pair.server_chain);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key);
    Arc::new(config.unwrap())
}

/// The handshake of the side that is rustls by itself; its alert is sent before it fails.
async fn shake(connection: &mut rustls::Connection, io: &mut DuplexStream) -> Result<(), rustls::Error> {
    loop {
        flush(connection, io).await;
        if !connection.is_handshaking() {
            return Ok(());
        }
        let mut bytes = [0; 4096];
        let count = io.read(&mut bytes).await.unwrap();
        if count == 0 {
            return Err(rustls::Error::General("the end".into()));
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            connection.read_tls(&mut rest).unwrap();
            if let Err(error) = connection.process_new_packets() {
                flush(connection, io).await;
                return Err(error);
            }
        }
    }
}

async fn flush(connection: &mut rustls::Connection, io: &mut DuplexStream) {
    let mut wire = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut wire).unwrap();
    }
    // The other side may be gone already.
    let _ = io.write_all(&wire).await;
}

/// One visit to our server: what it says, and whether the client resumed.
async fn visit(
    client: &Arc<rustls::ClientConfig>,
    server: &ServerConfig,
) -> (Result<Handshake, Failure>, Result<bool, rustls::Error>) {
    let (mut left, right) = tokio::io::duplex(64 * 1024);
    let mut connection =
        ClientConnection::new(client.clone(), "server.test".try_into().unwrap()).unwrap().into();
    let asking = async {
        let shaken = shake(&mut connection, &mut left).await;
        drop(left);
        shaken
    };
    let (shaken, accepted) = both(asking, accept(right, server, &[], soon())).await;
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    (accepted.map(|(_, handshake)| handshake), shaken.map(|()| resumed))
}

fn is_tls12(handshake: &Handshake, peer: &str) {
    assert_eq!((handshake.version, &*handshake.cipher), (Version::Tls12, ECDSA_256));
    // No key was exchanged where a session went on.
    assert_eq!(handshake.group.is_none(), handshake.resumed, "{:?}", handshake.group);
    let leaf = handshake.peer_leaf.as_ref().expect("known, also when resumed");
    assert_eq!(read_leaf(leaf).unwrap().uris, [peer]);
}

#[test]
fn an_old_client_shakes_hands_and_resumes_with_its_identity() {
    each_backend(async |mut pair| {
        let (client, mut server) = (old_client(&pair), pair.server());
        for resumed in [false, true, true] {
            let (agreed, other) = visit(&client, &server).await;
            let agreed = agreed.unwrap();
            assert_eq!((agreed.resumed, other), (resumed, Ok(resumed)));
            is_tls12(&agreed, CLIENT);
        }
        pair.tickets = TicketKeys::new();
        server = pair.server();
        assert!(!visit(&client, &server).await.0.unwrap().resumed, "another verification context");
    });
}

#[test]
fn an_old_client_is_refused_for_the_same_reasons() {
    each_backend(async |mut pair| {
        let stranger = Authority::new("stranger").leaf(CLIENT, |_| {});
        let cases: [(_, Expected); 2] = [
            (None, |failure| matches!(failure, Failure::NoCertificate)),
            (Some(stranger), |failure| matches!(failure, Failure::UnknownCa)),
        ];
        for (chain, expected) in cases {
            pair.client_chain = chain;
            let (refused, told) = visit(&old_client(&pair), &pair.server()).await;
            let refused = refused.unwrap_err();
            assert!(expected(&refused), "{refused:?}");
            assert!(matches!(told, Err(rustls::Error::AlertReceived(_))), "{told:?}");
        }
    });
}

#[test]
fn a_version_or_suites_in_which_nothing_is_in_common() {
    each_backend(async |mut pair| {
        let client = old_client(&pair);
        pair.server_min = Version::Tls13;
        let too_old = visit(&client, &pair.server()).await;
        pair.server_min = Version::Tls12;
        pair.server_suites = names(&["ECDHE-RSA-AES128-GCM-SHA256"]);
        let other_keys = visit(&client, &pair.server()).await;
        for (refused, told) in [too_old, other_keys] {
            assert!(matches!(refused, Err(Failure::NoSharedParameters(_))), "{refused:?}");
            assert!(matches!(told, Err(rustls::Error::AlertReceived(_))), "{told:?}");
        }
        pair.server_suites = names(&["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
        let agreed = visit(&client, &pair.server()).await.0.unwrap();
        assert_ne!(&*agreed.cipher, ECDSA_256);
    });
}

#[test]
fn an_old_server_is_verified_and_resumed() {
    each_backend(async |pair| {
        let (client, server) = (pair.client(), old_server(&pair));
        for resumed in [false, true] {
            let (left, mut right) = tokio::io::duplex(64 * 1024);
            let mut connection = ServerConnection::new(server.clone()).unwrap().into();
            let connecting = async {
                let (mut stream, agreed) = connect(left, &client, Some("server.test"), soon()).await?;
                stream.flush().await?;
                Ok::<_, Failure>(agreed)
            };
            let (agreed, shaken) = both(connecting, shake(&mut connection, &mut right)).await;
            shaken.unwrap();
            let agreed = agreed.unwrap();
            assert_eq!(agreed.resumed, resumed);
            is_tls12(&agreed, SERVER);
        }
    });
}
