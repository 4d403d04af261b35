//! Handshakes that must fail, and what each side is told.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use sidering_tls::{ClientTrust, Failure, Version, accept, connect};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pair::{Pair, Side, both, each_pair, names, run, soon};
use crate::pki::{Authority, CLIENT, SERVER};

/// Of a TLS 1.3 handshake the client is through when the server refuses its certificate: it hears of it when it reads.
async fn told(client: Side) -> Failure {
    match client {
        Err(failure) => failure,
        Ok((mut stream, _)) => {
            let error = stream.read_u8().await.expect_err("refused");
            let inner = error.into_inner().expect("a TLS failure");
            *inner.downcast().expect("a TLS failure")
        }
    }
}

async fn server_refuses(pair: &Pair, expected: impl Fn(&Failure) -> bool, alert: &[u8]) {
    let (client, server) = pair.shake().await;
    let server = server.err().expect("refused");
    assert!(expected(&server), "{server:?}");
    let client = told(client).await;
    assert!(matches!(&client, Failure::PeerAlert(told) if alert.contains(&told.0)), "{client:?}");
}

async fn client_refuses(pair: &Pair, expected: impl Fn(&Failure) -> bool, alert: &[u8]) {
    let (client, server) = pair.shake().await;
    let (client, server) = (client.err().expect("refused"), server.err().expect("told"));
    assert!(expected(&client), "{client:?}");
    assert!(matches!(&server, Failure::PeerAlert(told) if alert.contains(&told.0)), "{server:?}");
}

#[test]
fn a_client_without_a_certificate() {
    each_pair(async |mut pair| {
        pair.client_chain = None;
        server_refuses(&pair, |failure| matches!(failure, Failure::NoCertificate), &[116]).await;
    });
}

#[test]
fn another_authority() {
    each_pair(async |mut pair| {
        // Of the same name: only the key tells.
        let foreign = Authority::new("root");
        let ours = pair.client_chain.replace(foreign.leaf(CLIENT, |_| {}));
        server_refuses(&pair, |failure| matches!(failure, Failure::UnknownCa), &[42, 48, 51]).await;
        let stranger = Authority::new("stranger");
        pair.client_chain = Some(stranger.leaf(CLIENT, |_| {}));
        server_refuses(&pair, |failure| matches!(failure, Failure::UnknownCa), &[48]).await;
        (pair.client_chain, pair.server_chain) = (ours, stranger.leaf(SERVER, |_| {}));
        client_refuses(&pair, |failure| matches!(failure, Failure::UnknownCa), &[48]).await;
    });
}

#[test]
fn a_leaf_is_no_authority() {
    each_pair(async |mut pair| {
        let authority = Authority::new("root");
        (pair.client_roots, pair.server_roots) = (authority.bundle(), authority.bundle());
        pair.server_chain = authority.leaf(SERVER, |_| {});
        pair.client_chain = Some(authority.signed_by_a_leaf(CLIENT));
        let is = |failure: &Failure| matches!(failure, Failure::UnknownCa | Failure::BadCertificate(_));
        server_refuses(&pair, is, &[42, 46, 48]).await;
    });
}

#[test]
fn certificates_out_of_their_time() {
    each_pair(async |mut pair| {
        let authority = Authority::new("root");
        (pair.client_roots, pair.server_roots) = (authority.bundle(), authority.bundle());
        pair.server_chain = authority.leaf(SERVER, |_| {});
        let now = OffsetDateTime::now_utc();
        let near = |by: Duration, seconds: u64| by.as_secs().abs_diff(seconds) < 60;
        let expired = authority.leaf(CLIENT, |params| params.not_after = now - Duration::from_secs(100));
        pair.client_chain = Some(expired);
        let is = |failure: &Failure| matches!(failure, Failure::Expired { by } if near(*by, 100));
        server_refuses(&pair, is, &[45]).await;
        let early = authority.leaf(CLIENT, |params| params.not_before = now + Duration::from_secs(1000));
        pair.client_chain = Some(early);
        let is = |failure: &Failure| matches!(failure, Failure::NotYetValid { by } if near(*by, 1000));
        server_refuses(&pair, is, &[42, 45]).await;
        pair.client_chain = Some(authority.leaf(CLIENT, |_| {}));
        pair.server_chain =
            authority.leaf(SERVER, |params| params.not_after = now - Duration::from_secs(100));
        let is = |failure: &Failure| matches!(failure, Failure::Expired { by } if near(*by, 100));
        client_refuses(&pair, is, &[45]).await;
    });
}

#[test]
fn certificates_for_the_other_use() {
    each_pair(async |mut pair| {
        let authority = Authority::new("root");
        (pair.client_roots, pair.server_roots) = (authority.bundle(), authority.bundle());
        let is = |failure: &Failure| matches!(failure, Failure::WrongUsage);
        pair.server_chain = authority.leaf(SERVER, |params| params.extended_key_usages = vec![ServerAuth]);
        pair.client_chain =
            Some(authority.leaf(CLIENT, |params| params.extended_key_usages = vec![ServerAuth]));
        server_refuses(&pair, is, &[42, 43]).await;
        pair.client_chain =
            Some(authority.leaf(CLIENT, |params| params.extended_key_usages = vec![ClientAuth]));
        pair.server_chain = authority.leaf(SERVER, |params| params.extended_key_usages = vec![ClientAuth]);
        client_refuses(&pair, is, &[42, 43]).await;
    });
}

#[test]
fn a_host_or_a_list_of_names_that_does_not_match() {
    each_pair(async |pair| {
        let (roots, server) = (&pair.client_roots, pair.server());
        let cases: &[(&[&str], Option<&str>)] = &[
            (&[], Some("server.test")),
            (&[], Some("192.0.2.1")),
            (&[], None),
            (&["spiffe://td/ns/a/sa/*", "*", "spiffe://td/ns/a/sa/Server"], Some("server.test")),
        ];
        for (sans, name) in cases {
            let client = pair.client_trusting(ClientTrust::Host(roots, &names(sans)));
            let (client, _server) = pair.shake_with(&client, &server, *name).await;
            assert!(matches!(client, Err(Failure::NameMismatch)), "{sans:?} {name:?} {:?}", client.err());
        }
    });
}

#[test]
fn nothing_in_common() {
    each_pair(async |mut pair| {
        pair.client_min = Version::Tls13;
        pair.server_min = Version::Tls13;
        agreed_version(&pair, Version::Tls13).await;
        let (left, mut right) = tokio::io::duplex(64 * 1024);
        // A TLS 1.1 hello: no extensions, and suites that nobody has.
        let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0, 5, 1, 0]].concat();
        right.write_all(&hello).await.unwrap();
        let server = pair.server();
        let answered = async {
            let mut answer = Vec::new();
            right.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let (refused, answer) = both(accept(left, &server, &[], soon()), answered).await;
        assert!(matches!(refused, Err(Failure::NoSharedParameters(_))), "{:?}", refused.err());
        assert_eq!((answer.first(), answer.len()), (Some(&21), 7), "one alert record");
    });
}

async fn agreed_version(pair: &Pair, version: Version) {
    let ((_, client), _) = crate::pair::agreed(pair.shake().await);
    assert_eq!(client.version, version);
}

#[test]
fn bytes_that_are_not_tls() {
    each_pair(async |pair| {
        for junk in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"\0\0\0\0\0\0\0\0", b"SSH-2.0-OpenSSH\r\n"] {
            let (mut peer, ours) = tokio::io::duplex(1024);
            peer.write_all(junk).await.unwrap();
            peer.shutdown().await.unwrap();
            let reading = async { peer.read_to_end(&mut Vec::new()).await };
            let (refused, _) = both(accept(ours, &pair.server(), &[], soon()), reading).await;
            assert!(matches!(refused, Err(Failure::NotTls)), "{:?}", refused.err());
            let (mut peer, ours) = tokio::io::duplex(16 * 1024);
            peer.write_all(junk).await.unwrap();
            peer.shutdown().await.unwrap();
            let reading = async { peer.read_to_end(&mut Vec::new()).await };
            let (refused, _) = both(connect(ours, &pair.client(), None, soon()), reading).await;
            assert!(matches!(refused, Err(Failure::NotTls)), "{:?}", refused.err());
        }
    });
}

#[test]
fn every_alert_has_a_name_and_ends_the_handshake() {
    each_pair(async |pair| {
        let (client, server) = (pair.client(), pair.server());
        for code in (1..=255).filter(|code| ![90, 100].contains(code)) {
            for at_server in [true, false] {
                let (mut peer, ours) = tokio::io::duplex(16 * 1024);
                peer.write_all(&[21, 3, 3, 0, 2, 2, code]).await.unwrap();
                peer.shutdown().await.unwrap();
                let reading = async { peer.read_to_end(&mut Vec::new()).await };
                let failure = match at_server {
                    true => both(accept(ours, &server, &[], soon()), reading).await.0.err(),
                    false => both(connect(ours, &client, None, soon()), reading).await.0.err(),
                };
                assert!(
                    matches!(&failure, Some(Failure::PeerAlert(alert)) if alert.0 == code),
                    "{code} {failure:?}"
                );
            }
        }
    });
}

#[test]
fn silence_ends_at_the_deadline_and_an_early_end_is_truncation() {
    each_pair(async |pair| {
        let (_silent, ours) = tokio::io::duplex(16 * 1024);
        let at = std::time::Instant::now() + Duration::from_millis(5);
        let refused = accept(ours, &pair.server(), &[], at).await;
        assert!(matches!(refused, Err(Failure::TimedOut)), "{:?}", refused.err());
        let (_silent, ours) = tokio::io::duplex(16 * 1024);
        let at = std::time::Instant::now() + Duration::from_millis(5);
        let refused = connect(ours, &pair.client(), None, at).await;
        assert!(matches!(refused, Err(Failure::TimedOut)), "{:?}", refused.err());
        let (gone, ours) = tokio::io::duplex(16 * 1024);
        drop(gone);
        let refused = accept(ours, &pair.server(), &[], soon()).await;
        assert!(matches!(refused, Err(Failure::Truncated)), "{:?}", refused.err());
    });
}

#[test]
fn a_name_that_cannot_be_one() {
    run(async {
        for &backend in sidering_tls::Backend::compiled() {
            let pair = Pair::new(backend, backend);
            let (_peer, ours) = tokio::io::duplex(1024);
            let name = format!("{}.test", "x".repeat(300));
            assert!(matches!(
                connect(ours, &pair.client(), Some(&name), soon()).await,
                Err(Failure::Other(_))
            ));
        }
    });
}
