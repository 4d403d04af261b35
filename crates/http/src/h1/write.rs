//! Heads to bytes. Whatever a head holds, what is written is one head: nothing in it can end its line.

use bytes::{BufMut, BytesMut};
use http::StatusCode;

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
    let authority = head.authority.as_deref().unwrap_or_default();
    out.reserve(64 + head.target.len() + authority.len() + size(&head.headers));
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    visible(out, &head.target);
    out.put_slice(b" HTTP/1.1\r\n");
    let mut host_written = false;
    if !head.headers.contains("host") {
        host(out, b"host", authority);
        host_written = true;
    }
    for (name, value) in head.headers.raw() {
        if name.eq_ignore_ascii_case(b"host") {
            if !std::mem::replace(&mut host_written, true) {
                host(out, name, authority);
            }
        } else {
            field(out, name, value);
        }
    }
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
    out.reserve(96 + size(headers));
    let status = status.clamp(100, 999);
    out.put_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status));
    out.put_u8(b' ');
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.put_slice(reason.unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in headers.raw() {
        field(out, name, value);
    }
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
    for (name, value) in trailers.raw() {
        field(out, name, value);
    }
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

/// Writes a header unless it is one of those that this crate derives.
fn field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    let derived: &[&[u8]] = match name.len() {
        7 => &[b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"content-length"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => &[],
    };
    if derived.iter().any(|derived| name.eq_ignore_ascii_case(derived)) {
        return;
    }
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn host(out: &mut BytesMut, name: &[u8], authority: &str) {
    out.put_slice(name);
    out.put_slice(b": ");
    visible(out, authority);
    out.put_slice(b"\r\n");
}

/// What is not visible ASCII is percent-encoded: a rewritten target or host cannot break out of its place.
fn visible(out: &mut BytesMut, text: &str) {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return out.put_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.put_u8(byte);
        } else {
            let hex = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
            out.put_slice(&[b'%', hex(byte >> 4), hex(byte & 0xf)]);
        }
    }
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

fn size(headers: &Headers) -> usize {
    headers.raw().map(|(name, value)| name.len() + value.len() + 4).sum()
}
