//! The corpus: raw heads and what becomes of each. A request is refused with its reason, or read in exactly one way.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::write;
use super::*;
use crate::Scheme;

fn read_request(raw: &[u8]) -> Result<Option<(RequestHead, RequestFraming)>, Malformed> {
    request(&mut BytesMut::from(raw), &mut Scan::default(), &Limits::default())
}

fn read_response(
    raw: &[u8],
    to_head: bool,
    websocket: bool,
) -> Result<Option<(ResponseHead, ResponseFraming)>, Malformed> {
    response(&mut BytesMut::from(raw), &mut Scan::default(), &Limits::default(), to_head, websocket)
}

/// One line that holds all there is to a request: method, target, authority, length, then headers.
fn shown(raw: &str) -> String {
    match read_request(raw.as_bytes()) {
        Ok(None) => "incomplete".into(),
        Err(why) => format!("{why:?}"),
        Ok(Some((head, framing))) => {
            let mut text = format!(
                "{} {} {} {:?}",
                head.method,
                head.target,
                head.authority.as_deref().unwrap_or("-"),
                framing.length
            );
            for (what, is) in
                [("last", !framing.keep_alive), ("expects", framing.expects), ("websocket", head.websocket)]
            {
                if is {
                    text = format!("{text} {what}");
                }
            }
            for (name, value) in head.headers.iter() {
                text = format!("{text} | {name}={}", value.escape_ascii());
            }
            text
        }
    }
}

/// With `GET / HTTP/1.1` and a host in front and the empty line behind.
fn with(headers: &str) -> String {
    shown(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n"))
}

#[test]
fn request_lines() {
    for (line, expected) in [
        ("GET / HTTP/1.1", "GET / a Empty | Host=a"),
        ("\r\nGET / HTTP/1.1", "GET / a Empty | Host=a"),
        ("get /A?b=%20c HTTP/1.1", "get /A?b=%20c a Empty | Host=a"),
        ("M-SEARCH /x HTTP/1.1", "M-SEARCH /x a Empty | Host=a"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * a Empty | Host=a"),
        ("GET http://b:8080/x HTTP/1.1", "GET /x b:8080 Empty | host=b:8080"),
        ("GET /x HTTP/1.0", "GET /x a Empty last | Host=a"),
        ("\r\n\r\nGET / HTTP/1.1", "StartLine"),
        (" GET / HTTP/1.1", "StartLine"),
        ("GET  / HTTP/1.1", "StartLine"),
        ("GET /  HTTP/1.1", "StartLine"),
        ("GET / HTTP/1.1 ", "StartLine"),
        ("GET /a b HTTP/1.1", "StartLine"),
        ("GET\t/\tHTTP/1.1", "StartLine"),
        ("GET /", "StartLine"),
        ("GET / http/1.1", "StartLine"),
        ("GET / HTTP/1.2", "Version"),
        ("GET / HTTP/2.0", "Version"),
        ("GET / HTTP/1.1x", "Version"),
        ("GET / HTTP/01.1", "Version"),
        ("PRI * HTTP/2.0", "Version"),
        ("G(T / HTTP/1.1", "Method"),
        ("GET\0 / HTTP/1.1", "Method"),
        ("GET /\0 HTTP/1.1", "Target"),
        ("GET /\x0b HTTP/1.1", "Target"),
        ("GET /a#b HTTP/1.1", "Target"),
        ("GET a HTTP/1.1", "Target"),
        ("GET * HTTP/1.1", "Target"),
        ("GET http://u:p@b/ HTTP/1.1", "Target"),
        ("CONNECT b:443 HTTP/1.1", "Connect"),
        ("GET /\rx HTTP/1.1", "LineEnding"),
        ("GET / HTTP/1.1\n", "LineEnding"),
        ("\x16\x03\x01\x02", "StartLine"),
    ] {
        assert_eq!(shown(&format!("{line}\r\nHost: a\r\n\r\n")), expected, "{line:?}");
    }
}

#[test]
fn hosts() {
    for (headers, expected) in [
        ("Host: a.b:80\r\n", "GET / a.b:80 Empty | Host=a.b:80"),
        ("hOST:\ta \r\n", "GET / a Empty | hOST=a"),
        ("Host: [::1]:80\r\n", "GET / [::1]:80 Empty | Host=[::1]:80"),
        ("X: y\r\n", "HostMissing"),
        ("Host: a\r\nHost: a\r\n", "HostRepeated"),
        ("Host: a\r\nX: y\r\nHOST: b\r\n", "HostRepeated"),
        ("Host:\r\n", "Host"),
        ("Host: a, b\r\n", "Host"),
        ("Host: a b\r\n", "Host"),
        ("Host: a/b\r\n", "Host"),
        ("Host: u@a\r\n", "Host"),
        ("Host: a:99999\r\n", "Host"),
        ("Host: \u{e9}\r\n", "Host"),
    ] {
        assert_eq!(shown(&format!("GET / HTTP/1.1\r\n{headers}\r\n")), expected, "{headers:?}");
    }
    assert_eq!(shown("GET / HTTP/1.0\r\n\r\n"), "GET / - Empty last");
    // RFC 9112, 3.2.2: the target's host counts, and Host says the same afterwards; a bad one is still refused.
    assert_eq!(shown("GET http://b/ HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n"), "GET / b Empty | X=y | host=b");
    assert_eq!(shown("GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n"), "Host");
    assert_eq!(shown("GET http://b/ HTTP/1.1\r\n\r\n"), "HostMissing");
    let (head, _) = read_request(b"GET https://b/ HTTP/1.1\r\nHost: b\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.scheme, Some(Scheme::Https));
}

#[test]
fn header_lines() {
    let ok = |rest: &str| format!("GET / a Empty | Host=a{rest}");
    for (line, expected) in [
        ("X-A: 1\r\nx-b:2\r\nX-A:\t3 \t", ok(" | X-A=1 | x-b=2 | X-A=3")),
        ("X:", ok(" | X=")),
        ("X: a:b\tc  d", ok(" | X=a:b\\tc  d")),
        ("X: \u{e9}", ok(" | X=\\xc3\\xa9")),
        (": value", "HeaderName".into()),
        ("X : a", "HeaderName".into()),
        ("X\t: a", "HeaderName".into()),
        ("X", "HeaderName".into()),
        ("X y: a", "HeaderName".into()),
        ("X\0: a", "HeaderName".into()),
        ("\u{e9}: a", "HeaderName".into()),
        ("(X): a", "HeaderName".into()),
        ("X: a\0b", "HeaderValue".into()),
        ("X: a\x0bb", "HeaderValue".into()),
        ("X: a\x7fb", "HeaderValue".into()),
        ("X: a\r\n b", "FoldedLine".into()),
        ("X: a\r\n\tb", "FoldedLine".into()),
        ("X: a\nY: b", "LineEnding".into()),
        ("X: a\rY: b", "LineEnding".into()),
        ("X: a\r\r\nY: b", "LineEnding".into()),
    ] {
        assert_eq!(with(line), expected, "{line:?}");
    }
    assert_eq!(shown("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "FoldedLine");
}

#[test]
fn framing_of_requests() {
    let ok = |framing: &str| format!("GET / a {framing} | Host=a");
    for (line, expected) in [
        ("Content-Length: 5", ok("Exact(5)")),
        ("Content-Length: 0", ok("Exact(0)")),
        ("Transfer-Encoding: chunked", ok("Unknown")),
        ("TRANSFER-encoding: Chunked ", ok("Unknown")),
        ("Content-Length:", "ContentLength".into()),
        ("Content-Length: ,", "ContentLength".into()),
        ("Content-Length: 5,5", "ContentLength".into()),
        ("Content-Length: 5, 5", "ContentLength".into()),
        ("Content-Length: +5", "ContentLength".into()),
        ("Content-Length: -5", "ContentLength".into()),
        ("Content-Length: 0x5", "ContentLength".into()),
        ("Content-Length: 5 5", "ContentLength".into()),
        ("Content-Length: 9223372036854775808", "ContentLength".into()),
        ("Content-Length: 18446744073709551621", "ContentLength".into()),
        ("Content-Length: 5\r\nContent-Length: 5", "ContentLength".into()),
        ("Content-Length: 5\r\ncontent-length: 6", "ContentLength".into()),
        ("Content-Length : 5", "HeaderName".into()),
        ("Content-Length\u{a0}: 5", "HeaderName".into()),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "LengthAndEncoding".into()),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", "LengthAndEncoding".into()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "TransferEncoding".into()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "TransferEncoding".into()),
        ("Transfer-Encoding: identity", "TransferEncoding".into()),
        ("Transfer-Encoding:", "TransferEncoding".into()),
        ("Transfer-Encoding: gzip, chunked", "TransferEncoding".into()),
        ("Transfer-Encoding: chunked, identity", "TransferEncoding".into()),
        ("Transfer-Encoding: chunked;q=1", "TransferEncoding".into()),
        ("Transfer-Encoding: xchunked", "TransferEncoding".into()),
        ("Transfer-Encoding: \"chunked\"", "TransferEncoding".into()),
        ("Transfer-Encoding: \x0bchunked", "HeaderValue".into()),
        ("Transfer-Encoding:\r\n chunked", "FoldedLine".into()),
        ("Transfer-Encoding : chunked", "HeaderName".into()),
        ("Transfer_Encoding: chunked", "GET / a Empty | Host=a | Transfer_Encoding=chunked".into()),
    ] {
        assert_eq!(with(line), expected, "{line:?}");
    }
    let http10 = |line: &str| shown(&format!("POST / HTTP/1.0\r\n{line}\r\n\r\n"));
    assert_eq!(http10("Transfer-Encoding: chunked"), "EncodingNotAllowed");
    assert_eq!(http10("Content-Length: 3"), "POST / - Exact(3) last");
}

#[test]
fn what_follows_from_connection_and_its_kin() {
    let ok = |facts: &str, line: &str| format!("GET / a Empty{facts} | Host=a{line}");
    for (line, expected) in [
        ("Connection: close", ok(" last", " | Connection=close")),
        ("Connection: x, Close", ok(" last", " | Connection=x, Close")),
        ("Connection: closed", ok("", " | Connection=closed")),
        ("Expect: 100-continue", ok(" expects", " | Expect=100-continue")),
        ("Expect: y 100-continue", ok(" expects", " | Expect=y 100-continue")),
        (
            "Connection: Upgrade\r\nUpgrade: WebSocket",
            ok(" websocket", " | Connection=Upgrade | Upgrade=WebSocket"),
        ),
        ("Upgrade: websocket", ok("", " | Upgrade=websocket")),
        ("Connection: upgrade\r\nUpgrade: h2c", ok("", " | Connection=upgrade | Upgrade=h2c")),
        (
            "Connection: upgrade\r\nUpgrade: websocket, h2c",
            ok("", " | Connection=upgrade | Upgrade=websocket, h2c"),
        ),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3",
            "GET / a Exact(3) | Host=a | Connection=upgrade | Upgrade=websocket".into(),
        ),
    ] {
        assert_eq!(with(line), expected, "{line:?}");
    }
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(shown(kept), "GET / - Empty | Connection=keep-alive");
}

#[test]
fn limits_name_themselves() {
    let limits = Limits { head_bytes: 64, headers: 3, ..Limits::default() };
    let read =
        |raw: String| request(&mut BytesMut::from(raw.as_bytes()), &mut Scan::default(), &limits).map(|_| ());
    let too_large = Err(Malformed::HeadTooLarge { limit: 64 });
    let sized = |size: usize| {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{head}{}\r\n\r\n", "x".repeat(size - head.len() - 4))
    };
    assert_eq!(read(sized(64)), Ok(()));
    assert_eq!(read(sized(65)), too_large);
    assert_eq!(read("x".repeat(64)), Ok(()));
    assert_eq!(read("x".repeat(65)), too_large, "no end in sight");
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x:\r\n".repeat(count - 1));
    assert_eq!(read(many(3)), Ok(()));
    assert_eq!(read(many(4)), Err(Malformed::TooManyHeaders { limit: 3 }));
}

#[test]
fn the_default_limits_hold_a_large_head() {
    let head = |value: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "x".repeat(value));
    assert!(matches!(read_request(head(60_000).as_bytes()), Ok(Some(_))));
    assert_eq!(read_request(head(62_000).as_bytes()).err(), Some(Malformed::HeadTooLarge { limit: 61_440 }));
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    assert!(matches!(read_request(many(100).as_bytes()), Ok(Some(_))));
    assert_eq!(read_request(many(101).as_bytes()).err(), Some(Malformed::TooManyHeaders { limit: 100 }));
}

#[test]
fn heads_split_at_every_byte() {
    let raw = b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nX-Y: z\r\n\r\nbody";
    let whole = read_request(raw).unwrap().unwrap();
    for cut in 0..raw.len() - 4 {
        let (mut input, mut scan) = (BytesMut::from(&raw[..cut]), Scan::default());
        assert!(request(&mut input, &mut scan, &Limits::default()).unwrap().is_none(), "at {cut}");
        input.extend_from_slice(&raw[cut..]);
        let (head, framing) = request(&mut input, &mut scan, &Limits::default()).unwrap().unwrap();
        assert_eq!((&head.headers, &framing), (&whole.0.headers, &whole.1), "at {cut}");
        assert_eq!(input, "body");
    }
    let (mut input, mut scan, mut found) = (BytesMut::new(), Scan::default(), 0);
    let head = &raw[..raw.len() - 4];
    for byte in [head, head].concat() {
        input.extend_from_slice(&[byte]);
        if let Some((_, framing)) = request(&mut input, &mut scan, &Limits::default()).unwrap() {
            assert_eq!(framing, whole.1);
            assert!(input.is_empty());
            found += 1;
        }
    }
    assert_eq!(found, 2);
}

#[test]
fn responses() {
    let shown = |raw: &str, to_head: bool| match read_response(raw.as_bytes(), to_head, false) {
        Ok(None) => "incomplete".into(),
        Err(why) => format!("{why:?}"),
        Ok(Some((head, framing))) => format!(
            "{} {:?}{}{}",
            head.status,
            framing.length,
            if framing.has_body { " body" } else { "" },
            if framing.keep_alive { "" } else { " last" }
        ),
    };
    for (raw, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 Exact(5) body"),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 Exact(0) body"),
        ("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", "200 Unknown body"),
        ("HTTP/1.1 299 A \u{e9}\t?\r\n\r\n", "299 Unknown body"),
        ("HTTP/1.0 200 OK\r\n\r\n", "200 Unknown body last"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "200 Unknown body last"),
        ("HTTP/1.1 204 No\r\n\r\n", "204 Empty"),
        ("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "204 Empty"),
        ("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "204 Empty"),
        ("HTTP/1.1 304 Same\r\nContent-Length: 10\r\n\r\n", "304 Exact(10)"),
        ("HTTP/1.1 304 Same\r\n\r\n", "304 Empty"),
        ("HTTP/1.1 100 Go\r\n\r\n", "100 Empty"),
        ("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", "103 Empty"),
        ("HTTP/1.1 100 Go\r\nContent-Length: 20\r\n\r\n", "EncodingNotAllowed"),
        ("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "Informational"),
        ("HTTP/1.1 099 X\r\n\r\n", "StartLine"),
        ("HTTP/1.1 20 X\r\n\r\n", "StartLine"),
        ("HTTP/1.1 2000 X\r\n\r\n", "StartLine"),
        ("HTTP/1.1  200 X\r\n\r\n", "StartLine"),
        ("HTTP/1.1 200 a\0b\r\n\r\n", "StartLine"),
        ("HTTP/2.0 200 X\r\n\r\n", "Version"),
        ("ICY 200 OK\r\n\r\n", "StartLine"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "StartLine"),
        ("HTTP/1.1 200 OK\n\n", "LineEnding"),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "FoldedLine"),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "HeaderName"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "ContentLength"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "ContentLength"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "LengthAndEncoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "TransferEncoding"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "EncodingNotAllowed"),
    ] {
        assert_eq!(shown(raw, false), expected, "{raw:?}");
    }
    for (raw, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 Exact(5)"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 Unknown"),
        ("HTTP/1.1 200 OK\r\n\r\n", "200 Empty"),
    ] {
        assert_eq!(shown(raw, true), expected, "to HEAD: {raw:?}");
    }
}

#[test]
fn an_upgrade_is_confirmed_exactly() {
    let read = |raw: &str| read_response(raw.as_bytes(), false, true).map(|head| head.unwrap().0.status);
    let confirmed = "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(read(confirmed), Ok(101));
    for refused in [
        "HTTP/1.1 101 Go\r\n\r\n",
        "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        assert_eq!(read(refused), Err(Malformed::Informational), "{refused}");
    }
}

#[test]
fn trailers_that_reframe_reroute_or_authenticate_are_dropped() {
    let wire = Bytes::from_static(
        b"X-Sum: 1\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\nHost: b\r\nAuthorization: x\r\nX-Forwarded-Client-Cert: y\r\nx-envoy-internal: true\r\ngrpc-status: 0\r\n\r\n",
    );
    let names: Vec<_> =
        trailers(wire, &Limits::default()).unwrap().iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["X-Sum", "grpc-status"]);
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}".prop_filter("not one that is derived or checked", |name| {
        ![
            "host",
            "expect",
            "upgrade",
            "connection",
            "keep-alive",
            "content-length",
            "proxy-connection",
            "transfer-encoding",
        ]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    let value = "([!-~\u{e9}]([ \t!-~]{0,30}[!-~])?)?";
    proptest::collection::vec((name(), value), 0..20).prop_map(|list| {
        let mut headers = Headers::new();
        for (name, value) in list {
            headers.append(&HeaderName::parse(&name).unwrap(), value);
        }
        headers
    })
}

proptest! {
    #[test]
    fn a_written_request_reads_as_it_was(
        method in "[A-Z]{1,10}",
        target in "/[!-\"$-~]{0,40}",
        authority in "[a-z0-9.-]{1,20}(:[0-9]{1,4})?",
        headers in headers(),
        length in prop_oneof![Just(Length::Empty), (0..=i64::MAX as u64).prop_map(Length::Exact), Just(Length::Unknown)],
    ) {
        prop_assume!(method != "CONNECT");
        let head = RequestHead {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target,
            authority: Some(authority.clone()),
            scheme: None,
            version: Version::Http11,
            headers,
            websocket: false,
        };
        let mut wire = BytesMut::new();
        let framing = match length {
            Length::Empty => write::Framing::Silent,
            Length::Exact(bytes) => write::Framing::Length(bytes),
            Length::Unknown => write::Framing::Chunked,
        };
        write::request(&mut wire, &head, framing);
        let (read, framing) = request(&mut wire, &mut Scan::default(), &Limits::default()).unwrap().unwrap();
        prop_assert!(wire.is_empty());
        prop_assert_eq!(read.method, head.method);
        prop_assert_eq!(read.target, head.target);
        prop_assert_eq!(read.authority, head.authority);
        prop_assert_eq!(framing.length, length);
        let mut expected = Headers::new();
        expected.append(&HOST, authority);
        head.headers.iter().for_each(|(name, value)| expected.append(&HeaderName::parse(name).unwrap(), value));
        prop_assert_eq!(&read.headers, &expected);
        // The case of each name is as it was, too.
        let cases = |headers: &Headers| headers.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        prop_assert_eq!(cases(&read.headers), cases(&expected));
    }

    #[test]
    fn a_written_response_reads_as_it_was(status in 200_u16..600, headers in headers(), length in 0..=i64::MAX as u64) {
        let head = ResponseHead { status, version: Version::Http11, headers };
        let mut wire = BytesMut::new();
        write::response(&mut wire, status, &head.headers, write::Framing::Length(length), write::Connection::Silent);
        let (read, framing) =
            response(&mut wire, &mut Scan::default(), &Limits::default(), false, false).unwrap().unwrap();
        prop_assert!(wire.is_empty());
        prop_assert_eq!(read.status, status);
        prop_assert_eq!(framing.keep_alive, true);
        if status != 204 {
            prop_assert_eq!(framing.length, Length::Exact(length));
        }
        prop_assert_eq!(read.headers, head.headers);
    }

    #[test]
    fn nothing_that_a_head_holds_breaks_out_of_its_place(target in ".*", authority in ".*", value in any::<Vec<u8>>()) {
        let mut headers = Headers::new();
        headers.append(&HeaderName::from_static("x"), value);
        let head = RequestHead {
            method: Method::GET,
            target,
            authority: Some(authority),
            scheme: None,
            version: Version::Http11,
            headers,
            websocket: false,
        };
        let mut wire = BytesMut::new();
        write::request(&mut wire, &head, write::Framing::Silent);
        let lines = wire.iter().filter(|byte| **byte == b'\n').count();
        prop_assert_eq!(lines, 4);
        prop_assert_eq!(wire.iter().filter(|byte| **byte == b'\r').count(), 4);
    }

    #[test]
    fn random_bytes_never_panic(raw in any::<Vec<u8>>(), to_head: bool, websocket: bool) {
        let _ = read_request(&raw);
        let _ = read_response(&raw, to_head, websocket);
        let _ = read_request(&[b"GET / HTTP/1.1\r\n", &raw[..], b"\r\n\r\n"].concat());
        let _ = read_response(&[b"HTTP/1.1 200 OK\r\n", &raw[..], b"\r\n\r\n"].concat(), to_head, websocket);
    }
}
