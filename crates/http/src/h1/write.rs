//! Heads to bytes. Whatever a head holds, what is written is one head: nothing in it can end its line.

use std::borrow::Cow;
use std::cell::Cell;

use bytes::{BufMut, BytesMut};
use http::StatusCode;

use crate::headers::Line;
use crate::{Headers, RequestHead};

/// How the end of the body is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No header says anything.
    Silent,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What a head says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// Nothing: the version's default.
    Silent,
    Close,
    KeepAlive,
    /// Upgrade to WebSocket.
    Websocket,
}

/// Queues a request head, always as HTTP/1.1.
pub(super) fn request(out: &mut BytesMut, head: &RequestHead, framing: Framing) {
    let authority = visible(head.authority.as_deref().unwrap_or_default());
    let target = visible(&head.target);
    out.reserve(64 + target.len() + authority.len() + head.headers.size());
    for piece in [head.method.as_str().as_bytes(), b" ", &target, b" HTTP/1.1\r\n"] {
        out.put_slice(piece);
    }
    let host_written = Cell::new(!head.headers.contains("host"));
    if host_written.get() {
        for piece in [b"host: ", &authority[..], b"\r\n"] {
            out.put_slice(piece);
        }
    }
    head.headers.write(out, |name| match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            if host_written.replace(true) {
                Line::Without
            } else {
                Line::Value(&authority)
            }
        }
        _ => unless_derived(name),
    });
    end(out, framing, if head.websocket { Connection::Websocket } else { Connection::Silent });
}

/// Queues a response head with `status`, always as HTTP/1.1.
pub(super) fn response(
    out: &mut BytesMut,
    status: u16,
    headers: &Headers,
    framing: Framing,
    connection: Connection,
) {
    out.reserve(96 + headers.size());
    let status = status.clamp(100, 999);
    out.put_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status));
    out.put_u8(b' ');
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.put_slice(reason.unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    headers.write(out, unless_derived);
    end(out, framing, connection);
}

/// Queues the size line of a chunk.
pub(super) fn chunk_size(out: &mut BytesMut, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.put_u8(b"0123456789abcdef"[(size >> (digit * 4)) & 0xf]);
    }
    out.put_slice(b"\r\n");
}

/// Queues the last chunk.
pub(super) fn last_chunk(out: &mut BytesMut, trailers: &Headers) {
    out.put_slice(b"0\r\n");
    trailers.write(out, unless_derived);
    out.put_slice(b"\r\n");
}

fn end(out: &mut BytesMut, framing: Framing, connection: Connection) {
    match framing {
        Framing::Silent => {}
        Framing::Length(length) => {
            out.put_slice(b"content-length: ");
            decimal(out, length);
            out.put_slice(b"\r\n");
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.put_slice(match connection {
        Connection::Silent => b"\r\n",
        Connection::Close => b"connection: close\r\n\r\n",
        Connection::KeepAlive => b"connection: keep-alive\r\n\r\n",
        Connection::Websocket => b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
    });
}

/// Any header but those that this crate derives.
fn unless_derived(name: &[u8]) -> Line<'static> {
    let derived: &[&[u8]] = match name.len() {
        7 => &[b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"content-length"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => &[],
    };
    if derived.iter().any(|derived| name.eq_ignore_ascii_case(derived)) { Line::Without } else { Line::AsIs }
}

/// What is not visible ASCII is percent-encoded: a rewritten target or host cannot break out of its place.
fn visible(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.as_bytes().into();
    }
    let hex = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
    let mut encoded = Vec::new();
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(byte);
        } else {
            encoded.extend([b'%', hex(byte >> 4), hex(byte & 0xf)]);
        }
    }
    encoded.into()
}

fn decimal(out: &mut BytesMut, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}
