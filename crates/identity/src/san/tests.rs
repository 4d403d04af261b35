//! Certificates that no honest CA signs.

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType, SerialNumber,
};

use super::*;

const SAN: &[u64] = &[2, 5, 29, 17];
const URI: u8 = 0x86;
const DNS: u8 = 0x82;

fn signed(params: CertificateParams) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128);
    [&[tag, length][..], content].concat()
}

/// A certificate whose SAN extension has exactly these bytes.
fn with_san(value: Vec<u8>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.custom_extensions.push(CustomExtension::from_oid_content(SAN, value));
    signed(params)
}

fn with_names(names: &[Vec<u8>]) -> Vec<u8> {
    with_san(tlv(0x30, &names.concat()))
}

#[test]
fn names_serial_subject_and_validity_are_read() {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI("spiffe://td/ns/a/sa/b".try_into().unwrap()),
        SanType::DnsName("a.example".try_into().unwrap()),
        SanType::IpAddress([127, 0, 0, 1].into()),
    ];
    params.serial_number = Some(SerialNumber::from(vec![0xab, 0x01]));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Org");
    params.distinguished_name.push(DnType::CommonName, "name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let leaf = read_leaf(&signed(params)).unwrap();
    assert_eq!(
        leaf,
        Leaf {
            uris: vec!["spiffe://td/ns/a/sa/b".into()],
            dns: vec!["a.example".into()],
            serial: "AB01".into(),
            subject: "CN=name,O=Org".into(),
            not_before: 1_577_836_800,
            not_after: 1_609_459_200,
        }
    );
}

#[test]
fn a_certificate_without_names_has_none() {
    let leaf = read_leaf(&signed(CertificateParams::default())).unwrap();
    assert!(leaf.uris.is_empty() && leaf.dns.is_empty());
}

#[test]
fn control_and_non_ascii_characters_are_refused_in_uri_and_dns() {
    let bad: &[&[u8]] = &[
        b"spiffe://td/ns/a/sa/b\0.evil",
        b"\0",
        b"spiffe://td/ns/a/sa/b\n",
        b"spiffe://td/\x7f",
        "spiffe://td/ns/ä".as_bytes(),
        b"spiffe://td/\xff",
    ];
    for name in bad {
        for tag in [URI, DNS] {
            assert_eq!(
                read_leaf(&with_names(&[tlv(tag, name)])),
                Err(SanError::Character),
                "{tag:x} {name:?}"
            );
        }
    }
    let good_then_bad = with_names(&[tlv(URI, b"spiffe://td/ns/a/sa/b"), tlv(DNS, b"a\0b")]);
    assert_eq!(read_leaf(&good_then_bad), Err(SanError::Character));
}

#[test]
fn only_uri_and_dns_names_count() {
    // otherName, id-on-dnsSRV, its value a UTF8String that looks like an identity.
    let oid = tlv(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x07]);
    let text = tlv(0xa0, &tlv(0x0c, b"spiffe://td/ns/a/sa/b\0"));
    let other = tlv(0xa0, &[oid, text].concat());
    let mail = tlv(0x81, b"spiffe://td/ns/a/sa/b");
    let address = tlv(0x87, b"spiffe://td/ns/a");
    let registered = tlv(0x88, &[0x2b, 0x06]);
    let directory = tlv(0xa4, &tlv(0x30, &[]));
    let leaf = read_leaf(&with_names(&[other, mail, address, registered, directory])).unwrap();
    assert!(leaf.uris.is_empty() && leaf.dns.is_empty());
}

#[test]
fn a_constructed_uri_is_no_uri() {
    let inner = tlv(0x16, b"spiffe://td/ns/a/sa/b");
    assert_eq!(read_leaf(&with_names(&[tlv(0xa6, &inner)])), Err(SanError::Character));
}

#[test]
fn an_unknown_kind_of_name_is_refused() {
    assert!(read_leaf(&with_names(&[tlv(0x8f, b"spiffe://td/ns/a/sa/b")])).is_err());
    assert!(read_leaf(&with_names(&[tlv(0x16, b"spiffe://td/ns/a/sa/b")])).is_err());
}

#[test]
fn two_san_extensions_are_refused() {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://td/ns/a/sa/b".try_into().unwrap())];
    let more = tlv(0x30, &tlv(URI, b"spiffe://td/ns/a/sa/c"));
    params.custom_extensions.push(CustomExtension::from_oid_content(SAN, more));
    assert!(matches!(read_leaf(&signed(params)), Err(SanError::Certificate(_))));
}

#[test]
fn broken_san_extensions_are_refused() {
    let name = tlv(URI, b"spiffe://td/ns/a/sa/b");
    let good = tlv(0x30, &name);
    let trailing = [good.clone(), vec![0x05, 0x00]].concat();
    let mut too_long_inside = good.clone();
    too_long_inside[3] += 1;
    for value in [trailing, too_long_inside, good[..good.len() - 1].to_vec(), vec![], vec![0x30], name] {
        assert!(read_leaf(&with_san(value.clone())).is_err(), "{value:02x?}");
    }
}

#[test]
fn every_truncation_and_anything_appended_is_refused() {
    let der = with_names(&[tlv(URI, b"spiffe://td/ns/a/sa/b")]);
    for end in 0..der.len() {
        assert!(read_leaf(&der[..end]).is_err(), "{end} of {}", der.len());
    }
    assert!(read_leaf(&[&der[..], &[0]].concat()).is_err());
}

#[test]
fn no_single_changed_byte_panics() {
    let der = with_names(&[tlv(URI, b"spiffe://td/ns/a/sa/b")]);
    for at in 0..der.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = der.clone();
            changed[at] ^= flip;
            let _ = read_leaf(&changed);
        }
    }
}

#[test]
fn a_subject_cannot_fake_structure() {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String("a,O=b+\"c\\\n\u{e4} ".into()));
    params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), DnValue::Utf8String("#x".into()));
    let leaf = read_leaf(&signed(params)).unwrap();
    assert_eq!(leaf.subject, r#"1.2.3.4=#0C022378,CN=a\,O=b\+\"c\\\0A\C3\A4\ "#);
}

#[test]
fn serials_have_no_sign_byte() {
    assert_eq!(serial(&[0x00, 0xff]), "FF");
    assert_eq!(serial(&[0x00]), "00");
    assert_eq!(serial(&[0x01, 0x00]), "0100");
}
