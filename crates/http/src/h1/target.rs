//! Request targets and hosts (RFC 9112, 3.2 and RFC 3986, 3.2). Called for each request head.

use http::Method;

use crate::{Malformed, Scheme};

/// What a request target says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) scheme: Option<Scheme>,
    pub(super) authority: Option<&'a str>,
    /// Path and query, or `*`.
    pub(super) path: String,
}

/// Reads origin-form, absolute-form of http and https, and `*`. A fragment is refused rather than cut: what policy
/// sees must be what the server sees.
pub(super) fn parse<'a>(method: &Method, target: &'a [u8]) -> Result<Target<'a>, Malformed> {
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Malformed::Target);
    }
    let text = std::str::from_utf8(target).map_err(|_| Malformed::Target)?;
    if text.starts_with('/') {
        return Ok(Target { scheme: None, authority: None, path: text.to_owned() });
    }
    if text == "*" && method == Method::OPTIONS {
        return Ok(Target { scheme: None, authority: None, path: text.to_owned() });
    }
    let (scheme, rest) = text.split_once("://").ok_or(Malformed::Target)?;
    let scheme = if scheme.eq_ignore_ascii_case("http") {
        Scheme::Http
    } else if scheme.eq_ignore_ascii_case("https") {
        Scheme::Https
    } else {
        return Err(Malformed::Target);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority.as_bytes()) {
        return Err(Malformed::Target);
    }
    let path = match path.as_bytes().first() {
        Some(b'/') => path.to_owned(),
        // RFC 9112, 3.2.4: the whole server is meant.
        None if method == Method::OPTIONS => "*".to_owned(),
        _ => format!("/{path}"),
    };
    Ok(Target { scheme: Some(scheme), authority: Some(authority), path })
}

/// Whether this is `host [":" port]`: a DNS name or IPv4 address, or an IPv6 address in brackets. Narrower than RFC
/// 3986, which also allows user information and commas: those only serve to confuse.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (host, port) = if text.starts_with(b"[") {
        let Some(end) = text.iter().position(|byte| *byte == b']') else { return false };
        (&text[..=end], &text[end + 1..])
    } else {
        text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len()))
    };
    let host_fits = match host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")) {
        Some(address) => {
            address.contains(&b':')
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        None => !host.is_empty() && host.iter().all(|byte| IN_HOST[usize::from(*byte)]),
    };
    let port_fits = match port.split_first() {
        None => true,
        Some((b':', digits)) => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0')) <= 65535
        }
        Some(_) => false,
    };
    host_fits && port_fits
}

/// What a DNS name or an IPv4 address is made of. A table, since every request's host is looked at.
const IN_HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let of = |method, text: &'static str| {
            parse(&method, text.as_bytes()).map(|target| (target.scheme, target.authority, target.path))
        };
        let (get, options) = (Method::GET, Method::OPTIONS);
        for (method, text, expected) in [
            (&get, "/", Ok((None, None, "/"))),
            (&get, "/a//b/../c;d?e=/f?g", Ok((None, None, "/a//b/../c;d?e=/f?g"))),
            (&get, "//host/x", Ok((None, None, "//host/x"))),
            (&get, "http://a.b:80/c?d", Ok((Some(Scheme::Http), Some("a.b:80"), "/c?d"))),
            (&get, "HTTPS://a", Ok((Some(Scheme::Https), Some("a"), "/"))),
            (&get, "http://a?q", Ok((Some(Scheme::Http), Some("a"), "/?q"))),
            (&options, "http://a", Ok((Some(Scheme::Http), Some("a"), "*"))),
            (&options, "*", Ok((None, None, "*"))),
            (&get, "*", Err(Malformed::Target)),
            (&get, "", Err(Malformed::Target)),
            (&get, "a/b", Err(Malformed::Target)),
            (&get, "/a#b", Err(Malformed::Target)),
            (&get, "/\u{e9}", Err(Malformed::Target)),
            (&get, "/\u{7f}", Err(Malformed::Target)),
            (&get, "http://user@a/", Err(Malformed::Target)),
            (&get, "http:///x", Err(Malformed::Target)),
            (&get, "ftp://a/x", Err(Malformed::Target)),
            (&get, "http:/a/x", Err(Malformed::Target)),
        ] {
            let expected = expected.map(|(scheme, authority, path)| (scheme, authority, path.to_owned()));
            assert_eq!(of(method.clone(), text), expected, "{method} {text}");
        }
    }

    #[test]
    fn authorities() {
        for good in
            ["a", "A-b_c.d~", "127.0.0.1:8080", "[::1]", "[::ffff:1.2.3.4]:443", "a:0", "a:65535", "a."]
        {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:65536",
            "a:+1",
            "a:1:2",
            "a b",
            "a,b",
            "a/b",
            "u@a",
            "[::1",
            "[]",
            "[a]",
            "[::1]x",
            "::1",
            "[fe80::1%25eth0]",
            "a\t",
            "\u{e9}",
            "a%00",
            "a\\b",
            "a:999999",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
