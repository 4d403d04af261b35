//! Heads from bytes. Line endings are checked here, start lines are taken apart here, headers by httparse; what is
//! handed on points into the received bytes.

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use memchr::{memchr, memchr_iter};

use super::framing::Seen;
use super::target;
use crate::headers::{Spans, is_tchar, is_token};
use crate::{HeaderName, Headers, Length, Limits, Malformed, RequestHead, ResponseHead, Version};

/// The most headers that are ever taken apart.
const HEADERS_MAX: usize = 128;
/// As many as most heads have: room for them is made faster.
const HEADERS_USUAL: usize = 24;
const HOST: HeaderName = HeaderName::from_static("host");

/// How far a head or trailer section was searched for its end, so that no byte is looked at twice.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the current line begins.
    line: usize,
    /// How many lines came before it.
    lines: usize,
    /// Everything before was searched.
    at: usize,
    /// An empty line before the start line was passed over.
    skipped: bool,
}

impl Scan {
    /// The length of the section up to and with its empty line. Each line must end in CRLF and hold no other CR.
    pub(super) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(found) = memchr(b'\n', &bytes[self.at..]) {
            let end = self.at + found;
            let Some((b'\r', line)) = bytes[self.line..end].split_last() else {
                return Err(Malformed::LineEnding);
            };
            self.lines += 1;
            match line.first() {
                None if memchr_iter(b'\r', &bytes[..end]).count() > self.lines => {
                    return Err(Malformed::LineEnding);
                }
                None => return Ok(Some(end + 1)),
                Some(b' ' | b'\t') => return Err(Malformed::FoldedLine),
                Some(_) => {}
            }
            (self.line, self.at) = (end + 1, end + 1);
        }
        self.at = bytes.len();
        Ok(None)
    }

    /// Splits a whole head off `input` once it is there.
    fn take_head(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<Bytes>, Malformed> {
        match input.first() {
            None => return Ok(None),
            // Refused at once, not after a timeout: TLS on a plaintext port.
            Some(byte) if !is_tchar(*byte) => return Err(Malformed::StartLine),
            Some(_) => {}
        }
        let end = self.find_end(input)?;
        if end.unwrap_or(input.len()) > limits.head_bytes {
            return Err(Malformed::HeadTooLarge { limit: limits.head_bytes });
        }
        let Some(end) = end else { return Ok(None) };
        *self = Self::default();
        // Where nothing follows, the buffer itself becomes the head.
        let head = if end == input.len() { std::mem::take(input) } else { input.split_to(end) };
        Ok(Some(head.freeze()))
    }

    /// Passes over one empty line before a request (RFC 9112, 2.2). False while it may be about to come.
    fn skip_empty_line(&mut self, input: &mut BytesMut) -> bool {
        if !self.skipped && input.starts_with(b"\r\n") {
            input.advance(2);
            self.skipped = true;
        }
        self.skipped || input[..] != b"\r"[..]
    }
}

/// What a request head says beside the head itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestFraming {
    pub(super) length: Length,
    pub(super) keep_alive: bool,
    pub(super) expects: bool,
}

/// Takes a request head off the front of `input`, if it is complete.
pub(super) fn request(
    input: &mut BytesMut,
    scan: &mut Scan,
    limits: &Limits,
) -> Result<Option<(RequestHead, RequestFraming)>, Malformed> {
    if !scan.skip_empty_line(input) {
        return Ok(None);
    }
    let Some(wire) = scan.take_head(input, limits)? else { return Ok(None) };
    let (line, section) = split_line(&wire);
    let (method, target::Target { scheme, authority, path: target }, version) = request_line(line)?;
    let mut seen = Seen::default();
    let spans = fields(&wire, section, limits, &mut seen)?;
    let length = seen.request_length(version)?;
    let host = match seen.host {
        Some(host) if !target::is_authority(host) => return Err(Malformed::Host),
        None if version == Version::Http11 => return Err(Malformed::HostMissing),
        Some(host) => Some(std::str::from_utf8(host).map_err(|_| Malformed::Host)?),
        None => None,
    };
    // RFC 9112, 3.2.2: the target wins, and Host is made to agree.
    let overruled = host.is_some() && authority.is_some();
    let authority = authority.or(host).map(str::to_owned);
    let bodiless = matches!(length, Length::Empty | Length::Exact(0));
    let websocket = version == Version::Http11 && method == Method::GET && bodiless && seen.is_websocket();
    let framing =
        RequestFraming { length, keep_alive: seen.keeps_connection(version), expects: seen.expects };
    let mut headers = Headers::received(wire, spans);
    if let (true, Some(authority)) = (overruled, &authority) {
        headers.set(&HOST, authority);
    }
    Ok(Some((RequestHead { method, target, authority, scheme, version, headers, websocket }, framing)))
}

/// What a response head says beside the head itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseFraming {
    /// As announced.
    pub(super) length: Length,
    /// Whether bytes of a body follow.
    pub(super) has_body: bool,
    pub(super) chunked: bool,
    pub(super) keep_alive: bool,
}

/// Takes a response head off the front of `input`, if it is complete. `to_head`: it answers HEAD; `websocket`: the
/// request asked for that upgrade.
pub(super) fn response(
    input: &mut BytesMut,
    scan: &mut Scan,
    limits: &Limits,
    to_head: bool,
    websocket: bool,
) -> Result<Option<(ResponseHead, ResponseFraming)>, Malformed> {
    let Some(wire) = scan.take_head(input, limits)? else { return Ok(None) };
    let (line, section) = split_line(&wire);
    let (version, status) = status_line(line)?;
    let mut seen = Seen::default();
    let spans = fields(&wire, section, limits, &mut seen)?;
    let announced = seen.response_length(version)?;
    // RFC 9112, 6.3: these end with their head, whatever it says.
    let (length, has_body) = match status {
        101 if !(websocket && seen.is_websocket()) => return Err(Malformed::Informational),
        100..=199 => match announced {
            Length::Unknown if !seen.is_chunked() => (Length::Empty, false),
            _ => return Err(Malformed::EncodingNotAllowed),
        },
        204 => (Length::Empty, false),
        304 => (if let Length::Exact(_) = announced { announced } else { Length::Empty }, false),
        _ if to_head && announced == Length::Unknown && !seen.is_chunked() => (Length::Empty, false),
        _ => (announced, !to_head),
    };
    let chunked = seen.is_chunked();
    let keep_alive = seen.keeps_connection(version);
    let framing = ResponseFraming { length, has_body, chunked, keep_alive };
    let headers = Headers::received(wire, spans);
    Ok(Some((ResponseHead { status, version, headers }, framing)))
}

/// The trailers in `wire`, a section with its empty line. Those that would frame, route, authenticate or describe the
/// message after the fact are left out (RFC 9110, 6.5.1).
pub(super) fn trailers(wire: Bytes, limits: &Limits) -> Result<Headers, Malformed> {
    let spans = fields(&wire, &wire, limits, &mut Seen::default())?;
    let mut headers = Headers::received(wire, spans);
    headers.retain(|name, _| {
        let starts =
            |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        // Proxies speak to each other by these, and in heads only.
        let between_proxies = starts(b"x-forwarded-") || starts(b"x-envoy-");
        !between_proxies && !NEVER_TRAILERS.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
    });
    Ok(headers)
}

const NEVER_TRAILERS: [&str; 27] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// The start line without its CRLF, and the rest.
fn split_line(wire: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', wire).map_or(wire.len(), |at| at + 1);
    let (line, section) = wire.split_at(end);
    (line.strip_suffix(b"\r\n").unwrap_or(line), section)
}

fn request_line(line: &[u8]) -> Result<(Method, target::Target<'_>, Version), Malformed> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Malformed::StartLine);
    };
    let version = parse_version(version)?;
    if !is_token(method) {
        return Err(Malformed::Method);
    }
    let method = Method::from_bytes(method).map_err(|_| Malformed::Method)?;
    if method == Method::CONNECT {
        return Err(Malformed::Connect);
    }
    let target = target::parse(&method, target)?;
    Ok((method, target, version))
}

fn status_line(line: &[u8]) -> Result<(Version, u16), Malformed> {
    let (version, rest) = line.split_at(line.len().min(8));
    let version = parse_version(version)?;
    let [b' ', hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', reason @ ..] = rest else {
        return Err(Malformed::StartLine);
    };
    let printable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    // Some servers leave out the space before an empty reason.
    if !(reason.is_empty() || (reason[0] == b' ' && reason.iter().all(printable))) {
        return Err(Malformed::StartLine);
    }
    let digit = |byte: &u8| u16::from(byte - b'0');
    Ok((version, digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)))
}

fn parse_version(text: &[u8]) -> Result<Version, Malformed> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ if text.starts_with(b"HTTP/") => Err(Malformed::Version),
        _ => Err(Malformed::StartLine),
    }
}

/// The headers in `section`, which lies in `wire` and ends with its empty line.
fn fields<'a>(
    wire: &[u8],
    section: &'a [u8],
    limits: &Limits,
    seen: &mut Seen<'a>,
) -> Result<Spans, Malformed> {
    let limit = limits.headers.min(HEADERS_MAX);
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_USUAL];
    match fields_into(&mut slots[..limit.min(HEADERS_USUAL)], wire, section, seen) {
        Err(Malformed::TooManyHeaders { limit: tried }) if tried < limit => {
            let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
            fields_into(&mut slots[..limit], wire, section, seen)
        }
        parsed => parsed,
    }
}

fn fields_into<'a>(
    slots: &mut [httparse::Header<'a>],
    wire: &[u8],
    section: &'a [u8],
    seen: &mut Seen<'a>,
) -> Result<Spans, Malformed> {
    let limit = slots.len();
    let parsed = match httparse::parse_headers(section, slots) {
        Ok(httparse::Status::Complete((used, parsed))) if used == section.len() => parsed,
        Ok(_) => return Err(Malformed::LineEnding),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyHeaders { limit }),
        Err(httparse::Error::HeaderValue) => return Err(Malformed::HeaderValue),
        Err(httparse::Error::NewLine) => return Err(Malformed::LineEnding),
        Err(_) => return Err(Malformed::HeaderName),
    };
    let mut spans = Spans::within(wire, parsed.len());
    for header in parsed {
        if seen.note(header.name, header.value)? {
            spans.note(header.name.as_bytes(), header.value);
        }
    }
    Ok(spans)
}

#[cfg(test)]
mod tests;
