//! What a good handshake says.

use sidering_identity::read_leaf;
use sidering_tls::{ClientTrust, Inspected, Version, accept, connect, inspect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pair::{agreed, both, each_pair, names, offered, soon};
use crate::pki::{CLIENT, SERVER};

#[test]
fn both_sides_say_the_same_and_know_the_other() {
    each_pair(async |pair| {
        let ((_, client), (_, server)) = agreed(pair.shake().await);
        for side in [&client, &server] {
            assert_eq!(side.version, Version::Tls13);
            assert!(side.cipher.starts_with("TLS_AES_"), "{}", side.cipher);
            assert_eq!(side.group.as_deref(), Some("X25519MLKEM768"));
            assert_eq!((side.alpn.as_deref(), side.resumed), (None, false));
        }
        assert_eq!(client.cipher, server.cipher);
        assert_eq!(client.peer_leaf.as_ref(), pair.server_chain.certificates.first());
        assert_eq!(read_leaf(&client.peer_leaf.unwrap()).unwrap().uris, [SERVER]);
        assert_eq!(read_leaf(&server.peer_leaf.unwrap()).unwrap().uris, [CLIENT]);
    });
}

#[test]
fn tls12_suites_go_by_either_name() {
    each_pair(async |mut pair| {
        pair.client_suites = names(&["ECDHE-ECDSA-AES128-GCM-SHA256"]);
        pair.server_suites = names(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
        let client = pair.client();
        let server = pair.server();
        agreed(pair.shake_with(&client, &server, None).await);
    });
}

#[test]
fn the_server_prefers_and_never_takes_an_istio_token() {
    let cases: &[(&[&str], &[&str], Option<&str>)] = &[
        (&["http/1.1", "h2"], &["h2", "http/1.1"], Some("h2")),
        (&["istio-http/1.1", "istio", "http/1.1"], &["istio-http/1.1", "h2", "http/1.1"], Some("http/1.1")),
        (&["istio-peer-exchange", "istio"], &["istio-peer-exchange", "istio"], None),
        (&["istio"], &["h2"], None),
        (&["h2"], &[], None),
        (&[], &["h2"], None),
    ];
    each_pair(async |mut pair| {
        for (client, server, expected) in cases {
            (pair.client_alpn, pair.server_alpn) = (names(client), names(server));
            let ((_, client), (_, server)) = agreed(pair.shake().await);
            assert_eq!((client.alpn.as_deref(), server.alpn.as_deref()), (*expected, *expected));
        }
    });
}

#[test]
fn a_hello_offers_what_it_was_told_to() {
    // Istio's generated SNI is no host name that anybody registers.
    let istio = "outbound_.80_._.orders.shop.svc.cluster.local";
    each_pair(async |mut pair| {
        pair.client_alpn = names(&["istio-http/1.1", "istio", "http/1.1"]);
        for name in [Some(istio), Some("Server.test"), Some("192.0.2.1"), None] {
            let (left, mut right) = tokio::io::duplex(64 * 1024);
            let (client, server) = (pair.client(), pair.server());
            let reading = async {
                let mut bytes = vec![0; 8 * 1024];
                let mut count = 0;
                loop {
                    count += right.read(&mut bytes[count..]).await.unwrap();
                    match inspect(&bytes[..count]) {
                        Inspected::Incomplete => {}
                        Inspected::Hello(hello) => break (hello, bytes[..count].to_vec()),
                        other => panic!("{other:?}"),
                    }
                }
            };
            let connecting = connect(left, &client, name, soon());
            let (hello, bytes) = tokio::select! {
                read = reading => read,
                side = connecting => panic!("without an answer: {:?}", side.err()),
            };
            let sent = name.filter(|name| name.parse::<std::net::IpAddr>().is_err());
            assert_eq!(hello.server_name.as_deref(), sent.map(str::to_ascii_lowercase).as_deref());
            assert_eq!(hello.alpn, offered(&["istio-http/1.1", "istio", "http/1.1"]));
            // And the server takes it.
            let (mut left, right) = tokio::io::duplex(64 * 1024);
            left.write_all(&bytes).await.unwrap();
            left.shutdown().await.unwrap();
            let (refused, ()) = both(accept(right, &server, &hello.alpn, soon()), drain(&mut left)).await;
            assert!(matches!(refused, Err(sidering_tls::Failure::Truncated)), "{:?}", refused.err());
        }
    });
}

async fn drain(stream: &mut tokio::io::DuplexStream) {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
}

#[test]
fn the_host_or_one_of_the_names_is_what_a_server_must_have() {
    each_pair(async |mut pair| {
        let authority = crate::pki::Authority::new("hosts");
        pair.client_roots = authority.bundle();
        pair.server_chain = authority.leaf(SERVER, |params| {
            params.subject_alt_names.push(rcgen::SanType::DnsName("server.test".try_into().unwrap()));
            params.subject_alt_names.push(rcgen::SanType::IpAddress("192.0.2.1".parse().unwrap()));
        });
        let (roots, server) = (pair.client_roots.clone(), pair.server());
        let good: &[(&[&str], Option<&str>)] = &[
            (&[], Some("server.test")),
            (&[], Some("SERVER.test")),
            (&[], Some("192.0.2.1")),
            (&[SERVER], Some("other.test")),
            (&["x", "server.test"], None),
        ];
        for (sans, name) in good {
            let client = pair.client_trusting(ClientTrust::Host(&roots, &names(sans)));
            agreed(pair.shake_with(&client, &server, *name).await);
        }
        pair.client_roots = crate::pki::Authority::new("nobody's").bundle();
        let client = pair.client_trusting(ClientTrust::Unverified);
        agreed(pair.shake_with(&client, &server, Some("other.test")).await);
    });
}
