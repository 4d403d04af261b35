//! Who is believed.

use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

fn leaf(uris: &[&str], dns: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .chain(dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())))
        .collect();
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn domains(names: &[&str]) -> Vec<TrustDomain> {
    names.iter().map(|name| TrustDomain::parse(name).unwrap()).collect()
}

fn expected(names: &[&str]) -> ExpectedSans {
    ExpectedSans(names.iter().map(|name| ExpectedSan { name: (*name).into(), from: "test".into() }).collect())
}

#[test]
fn one_spiffe_id_in_any_of_our_domains_is_believed() {
    let der = leaf(&["spiffe://b.test/ns/n/sa/s"], &["n.example"]);
    let peer = peer_identity(&der, &domains(&["a.test", "b.test"])).unwrap();
    assert_eq!(peer.id.as_str(), "spiffe://b.test/ns/n/sa/s");
    assert_eq!(peer.leaf.dns, ["n.example"]);
}

#[test]
fn without_exactly_one_uri_nobody_is_believed() {
    let ours = domains(&["td"]);
    assert_eq!(peer_identity(&leaf(&[], &["td"]), &ours), Err(IdentityError::NoSpiffeId));
    let twice = leaf(&["spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/b"], &[]);
    assert_eq!(peer_identity(&twice, &ours), Err(IdentityError::ManyUris(2)));
    let another = leaf(&["spiffe://td/ns/a/sa/b", "https://example.test/"], &[]);
    assert_eq!(peer_identity(&another, &ours), Err(IdentityError::ManyUris(2)));
}

#[test]
fn a_uri_that_is_no_spiffe_id_names_nobody() {
    for uri in [
        "https://td/ns/a/sa/b",
        "SPIFFE://td/ns/a/sa/b",
        "spiffe://td",
        "spiffe://td/",
        "spiffe://TD/x",
        "spiffe://td/a/../b",
        "spiffe://u@td/a",
        "spiffe://td:1/a",
        "spiffe://td/a?b",
        "spiffe://td/%61",
    ] {
        assert_eq!(
            peer_identity(&leaf(&[uri], &[]), &domains(&["td"])),
            Err(IdentityError::NoSpiffeId),
            "{uri}"
        );
    }
}

#[test]
fn other_trust_domains_are_refused() {
    for other in ["td.evil", "evil.td", "t", "tdx"] {
        let der = leaf(&[&format!("spiffe://{other}/ns/a/sa/b")], &[]);
        let refused = peer_identity(&der, &domains(&["td", "td2"]));
        let Err(IdentityError::TrustDomain { id, accepted }) = refused else { panic!("{refused:?}") };
        assert_eq!((id.trust_domain(), accepted.as_str()), (other, "td, td2"));
    }
    assert!(
        peer_identity(&leaf(&["spiffe://td/ns/a/sa/b"], &[]), &[]).is_err(),
        "no domain is not every domain"
    );
}

#[test]
fn naming_is_literal() {
    let leaf = read_leaf(&leaf(&["spiffe://td/ns/a/sa/b.c"], &["x.example"])).unwrap();
    for good in ["spiffe://td/ns/a/sa/b.c", "x.example"] {
        assert_eq!(expected(&["other", good]).check(&leaf), Ok(()), "{good}");
    }
    for bad in [
        "spiffe://td/ns/a/sa/bxc",
        "spiffe://td/ns/a/sa/b",
        "spiffe://td/ns/a/sa/b.c ",
        "spiffe://td/ns/a/sa/b.*",
        "*",
        "*.example",
        "X.example",
        "x.example.",
        "SPIFFE://td/ns/a/sa/b.c",
        "",
    ] {
        assert!(expected(&[bad]).check(&leaf).is_err(), "{bad}");
    }
}

#[test]
fn an_empty_set_expects_nobody_in_particular() {
    assert_eq!(ExpectedSans::default().check(&read_leaf(&leaf(&[], &[])).unwrap()), Ok(()));
}

#[test]
fn a_mismatch_names_both_sides() {
    let leaf = read_leaf(&leaf(&["spiffe://td/ns/a/sa/b"], &["x.example"])).unwrap();
    let refused = expected(&["spiffe://td/ns/a/sa/c", "d"]).check(&leaf);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "presented spiffe://td/ns/a/sa/b, x.example, expected one of spiffe://td/ns/a/sa/c, d"
    );
}
