//! Hellos as clients send them, and as attackers do.

use super::*;

/// One extension.
fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(body)].concat()
}

fn vector(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn sni(name: &str) -> Vec<u8> {
    extension(0, &vector(&[&[0][..], &vector(name.as_bytes())].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> =
        names.iter().flat_map(|name| [&[u8::try_from(name.len()).unwrap()][..], name].concat()).collect();
    extension(16, &vector(&list))
}

/// The handshake message with these extensions, or without any.
fn message(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[7; 32], &[0]].concat();
    body.extend(vector(&[0x1a, 0x1a, 0x13, 0x01])); // GREASE, then a TLS 1.3 suite
    body.extend([1, 0]);
    if let Some(extensions) = extensions {
        body.extend(vector(extensions));
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector(part)].concat()).collect()
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    records(&message(Some(extensions)), 1 << 14)
}

fn expected(name: Option<&str>, alpn: &[&str]) -> Inspected {
    let alpn = alpn.iter().map(|name| (*name).into()).collect();
    Inspected::Hello(ClientHello { server_name: name.map(Into::into), alpn })
}

fn is_malformed(bytes: &[u8]) -> bool {
    matches!(inspect(bytes), Inspected::Malformed(_))
}

#[test]
fn name_and_protocols_are_read_whatever_stands_between() {
    let grease = extension(0x2a2a, &[]);
    let versions = extension(43, &[2, 3, 4]);
    let all = [grease, sni("Orders.Shop"), versions, alpn(&[&[0xda, 0xda], b"istio", b"h2"])].concat();
    assert_eq!(inspect(&hello(&all)), expected(Some("orders.shop"), &["\u{fffd}\u{fffd}", "istio", "h2"]));
    assert_eq!(inspect(&hello(&[])), expected(None, &[]));
    assert_eq!(inspect(&records(&message(None), 100)), expected(None, &[]));
}

#[test]
fn every_split_is_incomplete_until_the_last_byte_and_what_follows_does_not_matter() {
    let padding = extension(21, &[0; 1700]); // with a post-quantum share a hello no longer fits one segment
    let whole = message(Some(&[sni("a.test"), padding, alpn(&[b"h2"])].concat()));
    for size in [1, 2, 3, 100, 1 << 14] {
        let bytes = records(&whole, size);
        for end in 0..bytes.len() {
            assert_eq!(inspect(&bytes[..end]), Inspected::Incomplete, "{end} of {} in {size}", bytes.len());
        }
        assert_eq!(inspect(&bytes), expected(Some("a.test"), &["h2"]));
        assert_eq!(inspect(&[bytes, vec![23, 0, 0]].concat()), expected(Some("a.test"), &["h2"]));
    }
}

#[test]
fn what_is_not_tls_shows_at_the_first_byte_that_says_so() {
    for (bytes, says) in [
        (&b"GET / HTTP/1.1\r\n"[..], 0),
        (b"PRI * HTTP/2.0\r\n", 0),
        (b"SSH-2.0-", 0),
        (&[0x80, 0x2e, 1, 0, 2], 0), // SSLv2
        (&[0], 0),
        (&[21, 3, 3, 0, 2, 1, 0], 0), // an alert is no beginning
        (&[22, 2, 0], 1),
        (&[22, 3, 9], 2),
    ] {
        for end in 0..bytes.len() {
            let expected = if end <= says { Inspected::Incomplete } else { Inspected::NotTls };
            assert_eq!(inspect(&bytes[..end]), expected, "{:?}", &bytes[..end]);
        }
        assert_eq!(inspect(bytes), Inspected::NotTls);
    }
}

#[test]
fn broken_records_are_malformed() {
    let good = hello(&sni("a.test"));
    assert!(is_malformed(&[22, 3, 1, 0, 0]), "an empty record");
    assert!(is_malformed(&[22, 3, 1, 0x40, 1]), "longer than a record may be");
    assert!(is_malformed(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), "a ServerHello");
    let amid = [&records(&message(None)[..10], 10)[..], &[23, 3, 3, 0, 1, 0]].concat();
    assert!(is_malformed(&amid), "application data amid the hello");
    assert_eq!(inspect(&good[..good.len() - 1]), Inspected::Incomplete);
}

#[test]
fn names_that_mean_two_things_are_malformed() {
    let two_names = [[0].as_slice(), &vector(b"a"), &[0], &vector(b"b")].concat();
    for extensions in [
        [sni("a.test"), sni("b.test")].concat(),
        [alpn(&[b"h2"]), alpn(&[b"h2"])].concat(),
        extension(0, &vector(&two_names)),
        sni(""),
        sni("a\0.test"),
        sni("a b"),
        sni("\u{e4}.test"),
        alpn(&[b""]),
        extension(0, &[]),
        extension(16, &[0, 5, 1, b'h']),
        extension(0, &[vector(&[[0].as_slice(), &vector(b"a")].concat()), vec![0]].concat()),
        extension(16, &[vector(b"\x02h2"), vec![0]].concat()),
        vec![0, 0, 0],
    ] {
        assert!(is_malformed(&hello(&extensions)), "{extensions:02x?}");
    }
}

#[test]
fn bytes_after_the_extensions_are_malformed() {
    let mut trailing = message(Some(&sni("a.test")));
    trailing.push(0);
    trailing[3] += 1;
    assert!(is_malformed(&records(&trailing, 1 << 14)));
}

#[test]
fn a_hello_never_makes_us_wait_for_more_than_64_kib() {
    assert!(is_malformed(&[22, 3, 1, 0, 4, 1, 1, 0, 1]), "64 KiB and a byte announced");
    let endless = records(&[&[1, 0, 255, 255][..], &[0; 70_000]].concat(), 1);
    assert_eq!(inspect(&endless[..1000]), Inspected::Incomplete);
    assert!(is_malformed(&endless[..70_000]));
}

#[test]
fn no_changed_byte_and_no_wrong_length_panics() {
    let good = hello(&[sni("a.test"), alpn(&[b"h2", b"http/1.1"])].concat());
    for at in 0..good.len() {
        for value in 0..=255 {
            let mut changed = good.clone();
            changed[at] = value;
            let _ = inspect(&changed);
        }
    }
}
