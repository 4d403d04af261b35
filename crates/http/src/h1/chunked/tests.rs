//! Chunked bodies: what is refused, what is read, and that it makes no difference how the bytes are cut.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

/// The body and what lies behind it; `None` if it is not complete.
fn read(pieces: &[&[u8]], limits: &Limits) -> Result<Option<(String, String, Headers)>, Malformed> {
    let (mut chunked, mut input) = (Chunked::default(), BytesMut::new());
    let (mut body, mut trailers) = (Vec::new(), Headers::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match chunked.next(&mut input, limits, &mut trailers)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::Incomplete => break,
                Piece::End => {
                    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                    return Ok(Some((text(&body), text(&input), trailers)));
                }
            }
        }
    }
    Ok(None)
}

#[test]
fn bodies() {
    for (raw, expected) in [
        ("0\r\n\r\n", Ok(Some(("", "")))),
        ("3\r\nabc\r\n0\r\n\r\nGET", Ok(Some(("abc", "GET")))),
        ("003\r\nabc\r\n00\r\n\r\n", Ok(Some(("abc", "")))),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", Ok(Some(("01234567890123456789", "")))),
        ("3;x=y;z=\"a b\"\r\nabc\r\n0 \t;last\r\n\r\n", Ok(Some(("abc", "")))),
        ("1\r\na\r\n0\r\nX: y\r\n\r\n", Ok(Some(("a", "")))),
        ("3\r\nab", Ok(None)),
        ("0\r\n", Ok(None)),
        ("\r\n", Err(Malformed::Chunk)),
        (" 3\r\nabc\r\n", Err(Malformed::Chunk)),
        ("3 \r\nabc\r\n", Err(Malformed::Chunk)),
        ("+3\r\nabc\r\n", Err(Malformed::Chunk)),
        ("-1\r\n", Err(Malformed::Chunk)),
        ("0x3\r\nabc\r\n", Err(Malformed::Chunk)),
        ("g\r\n", Err(Malformed::Chunk)),
        ("3_0\r\n", Err(Malformed::Chunk)),
        (";x\r\n", Err(Malformed::Chunk)),
        ("3\nabc\r\n", Err(Malformed::LineEnding)),
        ("3;a\nb\r\nabc\r\n", Err(Malformed::LineEnding)),
        ("3;a\rb\r\nabc\r\n", Err(Malformed::Chunk)),
        ("3;\0\r\nabc\r\n", Err(Malformed::Chunk)),
        ("3\r\nabcd\r\n", Err(Malformed::Chunk)),
        ("3\r\nabc\n0\r\n\r\n", Err(Malformed::Chunk)),
        ("3\r\nabc\r0\r\n\r\n", Err(Malformed::Chunk)),
        ("3\r\nabc0\r\n\r\n", Err(Malformed::Chunk)),
        ("8000000000000000\r\n", Err(Malformed::Chunk)),
        ("ffffffffffffffff\r\n", Err(Malformed::Chunk)),
        ("10000000000000003\r\nabc\r\n", Err(Malformed::Chunk)),
        ("00000000000000003\r\nabc\r\n", Err(Malformed::Chunk)),
        ("0\r\nX: y\n\r\n", Err(Malformed::LineEnding)),
        ("0\r\n X: y\r\n\r\n", Err(Malformed::FoldedLine)),
        ("0\r\nX : y\r\n\r\n", Err(Malformed::HeaderName)),
        ("0\r\nContent-Length: x\r\n\r\n", Err(Malformed::ContentLength)),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", Err(Malformed::HeaderName)),
    ] {
        let read = read(&[raw.as_bytes()], &Limits::default());
        let read =
            read.as_ref().map(|read| read.as_ref().map(|(body, rest, _)| (body.as_str(), rest.as_str())));
        assert_eq!(read, expected.as_ref().copied(), "{raw:?}");
    }
}

#[test]
fn limits_name_themselves() {
    let limits = Limits { chunk_line_bytes: 8, trailer_bytes: 16, ..Limits::default() };
    let read = |raw: &str| read(&[raw.as_bytes()], &limits).map(|_| ());
    assert_eq!(read("1;67\r\n"), Ok(()));
    assert_eq!(read("1;345678\r\n"), Err(Malformed::ChunkLineTooLong { limit: 8 }));
    assert_eq!(read("0\r\nX: 678901234\r\n\r\n"), Ok(()));
    assert_eq!(read("0\r\nX: 6789012345\r\n\r\n"), Err(Malformed::TrailersTooLarge { limit: 16 }));
    assert_eq!(read("0\r\nX: 67890123456789"), Err(Malformed::TrailersTooLarge { limit: 16 }));
}

#[test]
fn split_at_every_byte() {
    let raw = b"4;ext=1\r\nwiki\r\n5\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nX-Sum: 9\r\n\r\nnext";
    let whole = read(&[raw], &Limits::default()).unwrap().unwrap();
    assert_eq!(whole.0, "wikipedia in\\r\\n\\r\\nchunks.");
    assert_eq!(whole.2.get("x-sum"), Some(&b"9"[..]));
    for cut in 0..raw.len() {
        let (a, b) = raw.split_at(cut);
        let halves = read(&[a, b], &Limits::default()).unwrap().unwrap();
        assert_eq!((&halves.0, &halves.2), (&whole.0, &whole.2), "at {cut}");
    }
    let bytes: Vec<&[u8]> = raw.chunks(1).collect();
    assert_eq!(read(&bytes, &Limits::default()).unwrap().unwrap().0, whole.0);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(raw in any::<Vec<u8>>(), hex in "[0-9a-fA-F;\r\n ]{0,40}") {
        let _ = read(&[&raw], &Limits::default());
        let _ = read(&[hex.as_bytes(), &raw], &Limits::default());
    }
}
