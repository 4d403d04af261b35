//! Headers that concern one connection only (RFC 9110, 7.6.1). Called by the relay for every head it forwards.

use crate::Headers;

/// Removes Connection and every header it names, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, and TE
/// except for `trailers`. A WebSocket upgrade is `RequestHead::websocket`, so it is not lost by this.
pub fn strip_hop_by_hop(headers: &mut Headers) {
    if !headers.raw().any(|(name, _)| concerns_one_hop(name)) {
        return;
    }
    let named: Vec<String> =
        headers.get_all("connection").flat_map(tokens).map(str::to_ascii_lowercase).collect();
    let trailers = headers.get_all("te").flat_map(tokens).any(|token| token.eq_ignore_ascii_case("trailers"));
    let mut te_kept = false;
    headers.retain(|name, value| {
        if name.eq_ignore_ascii_case(b"te") {
            // Only the bare word may pass, once: `trailers;q=0.5, gzip` is the sender's talk with us.
            return trailers
                && value.eq_ignore_ascii_case(b"trailers")
                && !std::mem::replace(&mut te_kept, true);
        }
        !is_always_removed(name) && !named.iter().any(|named| name.eq_ignore_ascii_case(named.as_bytes()))
    });
    if trailers && !te_kept {
        headers.append(&TE, "trailers");
    }
}

fn concerns_one_hop(name: &[u8]) -> bool {
    is_always_removed(name) || name.eq_ignore_ascii_case(b"te")
}

/// By length first: most heads have none of these.
fn is_always_removed(name: &[u8]) -> bool {
    let always: &[&[u8]] = match name.len() {
        7 => &[b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"http2-settings"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => &[],
    };
    always.iter().any(|always| name.eq_ignore_ascii_case(always))
}

const TE: crate::HeaderName = crate::HeaderName::from_static("te");

/// The members of a comma-separated list, trimmed; empty ones and those that are not text are left out.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split(',').map(|token| token.trim_matches([' ', '\t'])).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderName;

    fn headers(list: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in list {
            headers.append(&HeaderName::parse(name).unwrap(), value);
        }
        headers
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut head = headers(&[
            ("Host", "a"),
            ("Connection", "close, X-Secret ,, te"),
            ("connection", "x-other"),
            ("X-Secret", "1"),
            ("x-OTHER", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("Accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut head);
        assert_eq!(head, headers(&[("Host", "a"), ("Accept", "*/*")]));
    }

    #[test]
    fn te_passes_only_as_trailers() {
        for (te, kept) in [
            (&["trailers"][..], Some("trailers")),
            (&["gzip, Trailers"], Some("trailers")),
            (&["trailers", "trailers"], Some("trailers")),
            (&["gzip"], None),
            (&["chunked;q=1"], None),
        ] {
            let mut head = headers(&te.iter().map(|value| ("TE", *value)).collect::<Vec<_>>());
            strip_hop_by_hop(&mut head);
            let left: Vec<_> = head.get_all("te").map(|value| std::str::from_utf8(value).unwrap()).collect();
            assert_eq!(left, Vec::from_iter(kept), "{te:?}");
        }
    }
}
