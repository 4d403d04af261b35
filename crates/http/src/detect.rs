//! Recognises HTTP by its first bytes, for ports whose protocol is not declared. Pure; called by the sniffer.

use crate::headers::is_tchar;

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detected {
    /// Could still become any of the others.
    Incomplete,
    /// A request line of HTTP/1.0.
    Http10,
    /// A request line of HTTP/1.1.
    Http11,
    /// The connection preface of HTTP/2 (RFC 9113, 3.4).
    H2Preface,
    /// Not HTTP.
    Other,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest method in the IANA registry has 17 letters.
const METHOD_MAX: usize = 32;

/// What `bytes`, the first of a connection, are. Says `Other` as early as they cannot be HTTP any more; how many
/// bytes to wait for is the caller's limit.
pub fn detect(bytes: &[u8]) -> Detected {
    if bytes.starts_with(PREFACE) {
        return Detected::H2Preface;
    }
    if PREFACE.starts_with(bytes) {
        return Detected::Incomplete;
    }
    // One empty line before the request line is no reason to refuse it (RFC 9112, 2.2).
    let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    if line.is_empty() || bytes == b"\r" {
        return Detected::Incomplete;
    }
    let method = line.iter().take_while(|byte| is_tchar(**byte)).count();
    if method > METHOD_MAX {
        return Detected::Other;
    }
    match line.get(method) {
        None => return Detected::Incomplete,
        Some(b' ') if method > 0 => {}
        Some(_) => return Detected::Other,
    }
    let rest = &line[method + 1..];
    let target = rest.iter().take_while(|byte| byte.is_ascii_graphic()).count();
    match rest.get(target) {
        None => return Detected::Incomplete,
        Some(b' ') if target > 0 => {}
        Some(_) => return Detected::Other,
    }
    version(&rest[target + 1..])
}

fn version(bytes: &[u8]) -> Detected {
    for (text, version) in [(b"HTTP/1.1\r", Detected::Http11), (b"HTTP/1.0\r", Detected::Http10)] {
        if bytes.starts_with(text) {
            return version;
        }
        if text.starts_with(bytes) {
            return Detected::Incomplete;
        }
    }
    Detected::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_beginnings() {
        for (bytes, what) in [
            (&b"GET / HTTP/1.1\r\n"[..], Detected::Http11),
            (b"\r\nGET / HTTP/1.1\r\n", Detected::Http11),
            (b"PROPFIND /a?b HTTP/1.0\r\nHost: a\r\n", Detected::Http10),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12", Detected::H2Preface),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Detected::Other),
            (b"GET / HTTP/2.0\r\n", Detected::Other),
            (b"GET / HTTP/1.10\r\n", Detected::Other),
            (b"GET  / HTTP/1.1\r\n", Detected::Other),
            (b"GET /\r\n", Detected::Other),
            (b" GET / HTTP/1.1\r\n", Detected::Other),
            (b"EHLO mail.example\r\n", Detected::Other),
            (b"*1\r\n$4\r\nPING\r\n", Detected::Other),
            (b"\x16\x03\x01\x02\x00\x01", Detected::Other),
            (b"SSH-2.0-OpenSSH_9.7\r\n", Detected::Other),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Detected::Other),
        ] {
            assert_eq!(detect(bytes), what, "{:?}", bytes.escape_ascii().to_string());
        }
        assert_eq!(detect(&[b'A'; METHOD_MAX + 1]), Detected::Other);
    }

    #[test]
    fn every_shorter_beginning_is_incomplete() {
        for whole in [&b"GET / HTTP/1.1\r"[..], b"\r\nPUT /x HTTP/1.0\r", PREFACE] {
            for end in 0..whole.len() {
                assert_eq!(
                    detect(&whole[..end]),
                    Detected::Incomplete,
                    "{end} of {:?}",
                    whole.escape_ascii().to_string()
                );
            }
        }
    }
}
