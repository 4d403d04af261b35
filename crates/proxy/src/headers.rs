//! What is changed in the headers of a request on its way through: whom the upstream may believe, and what Istio's
//! users expect to find. A trusted peer is one whose verified identity is in our trust domains; no address ever is.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};
use sidering_http::{HeaderName, Headers, RequestHead};
use sidering_identity::{PeerIdentity, SpiffeId};
use sidering_policy::HeaderEdits;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the application may be told by an untrusted peer only through us.
fn is_reserved(name: &str) -> bool {
    let envoy = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("x-envoy-"));
    envoy || name.eq_ignore_ascii_case("x-forwarded-client-cert")
}

/// From a mesh peer: its identity is appended to what it says of others (Istio's APPEND_FORWARD).
pub(crate) fn from_mesh_peer(headers: &mut Headers, element: &str) {
    let mut chain = Vec::new();
    for value in headers.get_all("x-forwarded-client-cert") {
        chain.extend_from_slice(value);
        chain.push(b',');
    }
    chain.extend_from_slice(element.as_bytes());
    headers.set(&CLIENT_CERT, chain);
    if !headers.contains("x-forwarded-proto") {
        headers.set(&FORWARDED_PROTO, "https");
    }
}

/// From anybody else: nothing it says of itself or others is believed.
pub(crate) fn from_stranger(headers: &mut Headers, peer: SocketAddr) {
    headers.retain(|name, _| !is_reserved(name));
    headers.set(&FORWARDED_FOR, peer.ip().to_string());
    headers.set(&FORWARDED_PROTO, "http");
}

/// From our own application: the workload speaks for itself under its own certificate, so what it says of its callers
/// stands; but who our client was is ours to say, not its own.
pub(crate) fn from_application(headers: &mut Headers) {
    headers.retain(|name, _| !is_reserved(name));
    if !headers.contains("x-forwarded-proto") {
        headers.set(&FORWARDED_PROTO, "http");
    }
}

/// `:scheme` as routes see it: what the client's own sidecar saw.
pub(crate) fn scheme(headers: &Headers) -> &'static str {
    match headers.get("x-forwarded-proto") {
        Some(proto) if proto.eq_ignore_ascii_case(b"https") => "https",
        _ => "http",
    }
}

/// Gives the request an id unless it has one: a version 4 UUID, as Envoy.
pub(crate) fn ensure_request_id(headers: &mut Headers, entropy: [u64; 2]) {
    if !headers.contains("x-request-id") {
        headers.set(&REQUEST_ID, uuid(entropy));
    }
}

fn uuid([high, low]: [u64; 2]) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 1 << 63;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Who the client is, as far as that is known: from a mesh peer the last address that it forwards, else the peer.
pub(crate) fn remote_ip(headers: &Headers, peer: SocketAddr, trusted: bool) -> IpAddr {
    let forwarded = || {
        let value = headers.get_all("x-forwarded-for").last()?;
        std::str::from_utf8(value).ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    trusted.then(forwarded).flatten().unwrap_or(peer.ip())
}

/// One element of x-forwarded-client-cert, as Envoy writes it.
pub(crate) fn client_certificate(by: Option<&SpiffeId>, peer: &PeerIdentity, leaf_der: &[u8]) -> String {
    let mut element = String::new();
    if let Some(by) = by {
        let _ = write!(element, "By={by};");
    }
    element.push_str("Hash=");
    for byte in Sha256::digest(leaf_der) {
        let _ = write!(element, "{byte:02x}");
    }
    // Envoy quotes the subject, and escapes quotes within.
    let _ = write!(element, ";Subject=\"{}\";URI={}", peer.leaf.subject.replace('"', "\\\""), peer.id);
    element
}

/// A route's edits: remove, set, add. `host` and `:authority` rewrite the authority, as Istio has it.
pub(crate) fn edit_request(head: &mut RequestHead, edits: &HeaderEdits) {
    for (name, value) in &edits.set {
        if name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority") {
            head.authority = Some(value.to_string());
        }
    }
    edit(&mut head.headers, edits);
}

/// As [`edit_request`], for headers alone.
pub(crate) fn edit(headers: &mut Headers, edits: &HeaderEdits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    // A name that is none, such as `:authority`, is not a header.
    for (name, value) in &edits.set {
        if let Ok(name) = HeaderName::parse(name) {
            headers.set(&name, value.as_bytes());
        }
    }
    for (name, value) in &edits.add {
        if let Ok(name) = HeaderName::parse(name) {
            headers.append(&name, value.as_bytes());
        }
    }
}
