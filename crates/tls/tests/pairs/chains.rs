//! What leads to a root, and what names a host: both backends draw the same lines.

use rcgen::{CertificateParams, DnType, SanType};
use sidering_tls::{ClientTrust, Failure};
use time::{Duration, OffsetDateTime};

use crate::pair::{agreed, each_pair};
use crate::pki::{Authority, CLIENT, SERVER};

#[test]
fn a_chain_through_an_intermediate_must_bring_it_along() {
    each_pair(async |mut pair| {
        let root = Authority::new("root");
        let middle = root.intermediate("middle");
        (pair.client_roots, pair.server_roots) = (root.bundle(), root.bundle());
        let mut ours = middle.leaf(CLIENT, |_| {});
        ours.certificates.extend(middle.bundle().roots);
        pair.client_chain = Some(ours);
        pair.server_chain = middle.leaf(SERVER, |_| {});
        pair.server_chain.certificates.extend(middle.bundle().roots);
        agreed(pair.shake().await);
        pair.client_chain = Some(middle.leaf(CLIENT, |_| {}));
        let (_client, server) = pair.shake().await;
        assert!(matches!(server, Err(Failure::UnknownCa)), "{:?}", server.err());
    });
}

#[test]
fn an_intermediate_in_the_bundle_is_a_root() {
    each_pair(async |mut pair| {
        let root = Authority::new("root");
        let (middle, sibling) = (root.intermediate("middle"), root.intermediate("sibling"));
        (pair.client_roots, pair.server_roots) = (middle.bundle(), middle.bundle());
        pair.client_chain = Some(middle.leaf(CLIENT, |_| {}));
        pair.server_chain = middle.leaf(SERVER, |_| {});
        agreed(pair.shake().await);
        // Trust in one is not trust in what its own issuer signs besides.
        let mut other = sibling.leaf(CLIENT, |_| {});
        other.certificates.extend(sibling.bundle().roots);
        pair.client_chain = Some(other);
        let (_client, server) = pair.shake().await;
        assert!(matches!(server, Err(Failure::UnknownCa)), "{:?}", server.err());
    });
}

#[test]
fn an_issuer_that_has_ended_ends_its_leaves() {
    each_pair(async |mut pair| {
        let root = Authority::new("root");
        (pair.client_roots, pair.server_roots) = (root.bundle(), root.bundle());
        let ended = OffsetDateTime::now_utc() - Duration::seconds(100);
        let middle = root.intermediate_until("middle", ended);
        pair.server_chain = middle.leaf(SERVER, |_| {});
        pair.server_chain.certificates.extend(middle.bundle().roots);
        let (client, _server) = pair.shake().await;
        // The leaf itself has an hour left, which is nothing that it has expired by.
        assert!(matches!(&client, Err(Failure::Expired { by }) if by.as_secs() < 160), "{:?}", client.err());
    });
}

#[test]
fn a_host_is_named_by_its_alternative_names_alone() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let common = |params: &mut CertificateParams| {
        params.distinguished_name.push(DnType::CommonName, "a.server.test");
    };
    let cases: &[(&[SanType], bool)] = &[
        (&[], false),
        (&[dns("b.server.test")], false),
        (&[dns("*.server.test")], true),
        (&[dns("*.test")], false),
        (&[dns("a*.server.test")], false),
    ];
    each_pair(async |mut pair| {
        let authority = Authority::new("root");
        (pair.client_roots, pair.server_roots) = (authority.bundle(), authority.bundle());
        pair.client_chain = Some(authority.leaf(CLIENT, |_| {}));
        for (names, good) in cases {
            pair.server_chain = authority.leaf(SERVER, |params| {
                common(params);
                params.subject_alt_names = names.to_vec();
            });
            let client = pair.client_trusting(ClientTrust::Host(&pair.client_roots, &[]));
            let (client, _server) = pair.shake_with(&client, &pair.server(), Some("a.server.test")).await;
            match client {
                Ok(_) => assert!(*good, "{names:?}"),
                Err(failure) => {
                    assert!(!good && matches!(failure, Failure::NameMismatch), "{names:?} {failure:?}");
                }
            }
        }
    });
}
