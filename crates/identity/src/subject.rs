//! A distinguished name as RFC 4514 text, as Envoy writes it in x-forwarded-client-cert. For people and logs; never
//! compared. Every character that could be taken for structure is escaped, so that a name cannot fake another.

use std::fmt::Write;

use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The last RDN comes first (RFC 4514 2.1).
pub(crate) fn rfc4514(name: &X509Name<'_>) -> String {
    let rdns: Vec<_> =
        name.iter_rdn().map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    rdns.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    match (oid2abbrev(oid, oid_registry()), attribute.as_str()) {
        (Ok(name), Ok(value)) => format!("{name}={}", escaped(value)),
        (Err(_), Ok(value)) => format!("{oid}={}", escaped(value)),
        (_, Err(_)) => format!("{oid}=#{}", hex(attribute.as_slice())),
    }
}

/// RFC 4514 2.4, and every control or non-ASCII byte in hex.
fn escaped(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => text.extend(['\\', char::from(byte)]),
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
