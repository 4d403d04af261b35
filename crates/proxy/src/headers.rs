//! What is changed in the headers of a request on its way through: whom the upstream may believe, and what Istio's
//! users expect to find. A trusted peer is one whose verified identity is in our trust domains; no address ever is.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};
use sidering_http::{HeaderName, Headers, RequestHead, strip_hop_by_hop};
use sidering_identity::{PeerIdentity, SpiffeId};
use sidering_policy::{HeaderEdit, HeaderEdits};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who sent a request, as far as its headers are to be believed.
#[derive(Clone, Copy)]
pub(crate) enum Sender<'a> {
    /// Our own: it speaks for itself under its own certificate, so what it says of its callers stands; but who our
    /// client was is ours to say, not its own.
    Application,
    /// Its identity, this element of x-forwarded-client-cert, is appended to what it says of others (Istio's
    /// APPEND_FORWARD).
    MeshPeer(&'a str),
    /// Anybody else: nothing it says of itself or others is believed.
    Stranger(SocketAddr),
}

/// Makes a request's headers say nothing that its sender may not say. What concerns its connection alone goes first:
/// else `Connection: x-forwarded-client-cert` would take away what is set here.
pub(crate) fn admit(headers: &mut Headers, sender: Sender<'_>) {
    strip_hop_by_hop(headers);
    match sender {
        Sender::Application => from_application(headers),
        Sender::MeshPeer(element) => from_mesh_peer(headers, element),
        Sender::Stranger(peer) => from_stranger(headers, peer),
    }
}

/// What the application may be told by an untrusted peer only through us.
fn is_reserved(name: &[u8]) -> bool {
    let envoy = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"x-envoy-"));
    envoy || name.eq_ignore_ascii_case(b"x-forwarded-client-cert")
}

fn from_mesh_peer(headers: &mut Headers, element: &str) {
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

fn from_stranger(headers: &mut Headers, peer: SocketAddr) {
    headers.retain(|name, _| !is_reserved(name));
    headers.set(&FORWARDED_FOR, peer.ip().to_string());
    headers.set(&FORWARDED_PROTO, "http");
}

fn from_application(headers: &mut Headers) {
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

fn uuid([high, low]: [u64; 2]) -> [u8; 36] {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 1 << 63;
    // By hand, since every request without an id pays for it.
    let mut text = [b'-'; 36];
    let places = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    for (at, byte) in places.into_iter().zip(high.to_be_bytes().into_iter().chain(low.to_be_bytes())) {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        (text[at], text[at + 1]) = (digit(byte >> 4), digit(byte & 0xf));
    }
    text
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
    // A quotation mark within it is escaped already (RFC 4514).
    let _ = write!(element, ";Subject=\"{}\";URI={}", peer.leaf.subject, peer.id);
    for name in &peer.leaf.dns {
        // What is no host name could be taken for structure.
        let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
        let _ = if bare { write!(element, ";DNS={name}") } else { write!(element, ";DNS={name:?}") };
    }
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
    for step in edits.steps() {
        match step {
            HeaderEdit::Remove(name) => {
                headers.remove(name);
            }
            // A name that is none, such as `:authority`, is not a header.
            HeaderEdit::Set(name, value) => {
                if let Ok(name) = HeaderName::parse(name) {
                    headers.set(&name, value.as_bytes());
                }
            }
            HeaderEdit::Add(name, value) => {
                if let Ok(name) = HeaderName::parse(name) {
                    headers.append(&name, value.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sidering_http::{HeaderName, Headers};
    use sidering_identity::{Leaf, PeerIdentity, SpiffeId};
    use sidering_policy::HeaderEdits;

    use super::*;

    fn headers(list: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in list {
            headers.append(&HeaderName::parse(name).unwrap(), value);
        }
        headers
    }

    const CLAIMS: [(&str, &str); 4] = [
        ("X-Forwarded-Client-Cert", "URI=spiffe://forged"),
        ("X-Envoy-Internal", "true"),
        ("X-Forwarded-For", "10.0.0.1, 10.0.0.2"),
        ("X-Forwarded-Proto", "https"),
    ];

    fn peer() -> SocketAddr {
        "192.0.2.7:4000".parse().unwrap()
    }

    #[test]
    fn a_stranger_is_believed_nothing() {
        let mut claims = headers(&CLAIMS);
        admit(&mut claims, Sender::Stranger(peer()));
        assert_eq!(claims, headers(&[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "http")]));
    }

    #[test]
    fn a_mesh_peer_is_believed_and_named_behind_those_it_names() {
        let mut claims = headers(&CLAIMS);
        admit(&mut claims, Sender::MeshPeer("By=us;URI=them"));
        assert_eq!(
            claims.get("x-forwarded-client-cert"),
            Some(&b"URI=spiffe://forged,By=us;URI=them"[..]),
            "appended, as APPEND_FORWARD does"
        );
        assert_eq!(claims.get("x-envoy-internal"), Some(&b"true"[..]));
        assert_eq!(claims.get("x-forwarded-proto"), Some(&b"https"[..]));
    }

    #[test]
    fn our_application_names_its_callers_but_no_certificates() {
        let mut claims = headers(&CLAIMS);
        admit(&mut claims, Sender::Application);
        assert_eq!(claims, headers(&CLAIMS[2..]));
    }

    #[test]
    fn no_sender_takes_away_what_is_said_of_it() {
        let ours = "x-forwarded-client-cert, x-forwarded-for, x-forwarded-proto";
        let mut claims = headers(&[("Connection", ours)]);
        admit(&mut claims, Sender::MeshPeer("URI=them"));
        assert_eq!(
            claims,
            headers(&[("x-forwarded-client-cert", "URI=them"), ("x-forwarded-proto", "https")])
        );

        let mut claims = headers(&[("Connection", ours)]);
        admit(&mut claims, Sender::Stranger(peer()));
        assert_eq!(claims, headers(&[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "http")]));
    }

    #[test]
    fn only_a_trusted_peer_says_who_the_client_is() {
        let claims = headers(&CLAIMS);
        assert_eq!(remote_ip(&claims, peer(), true), "10.0.0.2".parse::<IpAddr>().unwrap());
        assert_eq!(remote_ip(&claims, peer(), false), peer().ip());
        assert_eq!(remote_ip(&headers(&[("x-forwarded-for", "nonsense")]), peer(), true), peer().ip());
    }

    #[test]
    fn the_certificate_element_is_envoys() {
        let leaf = Leaf {
            uris: Vec::new(),
            dns: vec!["a_1.b-c".into(), "*.d".into(), "e;URI=\"f".into()],
            serial: String::new(),
            subject: r#"CN=a \"b\""#.into(),
            not_before: 0,
            not_after: 0,
        };
        let id = |text| SpiffeId::parse(text).unwrap();
        let peer = PeerIdentity { id: id("spiffe://td/ns/a/sa/b"), leaf };
        assert_eq!(
            client_certificate(Some(&id("spiffe://td/ns/c/sa/d")), &peer, b"abc"),
            "By=spiffe://td/ns/c/sa/d;Hash=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad;\
             Subject=\"CN=a \\\"b\\\"\";URI=spiffe://td/ns/a/sa/b;DNS=a_1.b-c;DNS=*.d;DNS=\"e;URI=\\\"f\""
        );
    }

    #[test]
    fn request_ids_are_version_4_uuids_and_are_kept() {
        assert_eq!(&uuid([u64::MAX, 0]), b"ffffffff-ffff-4fff-8000-000000000000");
        assert_eq!(&uuid([0x0123_4567_89ab_cdef; 2]), b"01234567-89ab-4def-8123-456789abcdef");
        let mut named = headers(&[("X-Request-Id", "mine")]);
        ensure_request_id(&mut named, [1, 2]);
        assert_eq!(named.get("x-request-id"), Some(&b"mine"[..]));
    }

    #[test]
    fn edits_remove_set_and_add_in_that_order() {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let edits = HeaderEdits {
            remove: vec!["a".into()],
            set: vec![pair("b", "2"), pair(":authority", "other")],
            add: vec![pair("a", "3")],
        };
        let mut edited = headers(&[("A", "1"), ("B", "1"), ("b", "1")]);
        edit(&mut edited, &edits);
        assert_eq!(edited, headers(&[("b", "2"), ("a", "3")]));
    }
}
