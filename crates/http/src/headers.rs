//! The header list: in order, with duplicates and the case they came in. Kept as spans into the received bytes, so
//! that a head of any size costs two allocations.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr3;

/// How many bytes a proxy usually adds.
const ADDED_USUAL: usize = 192;

/// A name that is not a token (RFC 9110, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header name")]
pub struct InvalidHeaderName;

/// A header name to add, known to be a token. Names read are plain `&str`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(Bytes);

impl HeaderName {
    /// A name known at compile time; make it a `const`, and a wrong one does not compile.
    ///
    /// # Panics
    /// If it is not a token.
    pub const fn from_static(name: &'static str) -> Self {
        assert!(is_token(name.as_bytes()), "not a header name");
        Self(Bytes::from_static(name.as_bytes()))
    }

    /// The name, case kept.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("names are tokens, so ASCII")
    }

    /// A name from configuration or the network.
    ///
    /// # Errors
    /// [`InvalidHeaderName`] if it is not a token.
    pub fn parse(name: &str) -> Result<Self, InvalidHeaderName> {
        if is_token(name.as_bytes()) {
            Ok(Self(Bytes::copy_from_slice(name.as_bytes())))
        } else {
            Err(InvalidHeaderName)
        }
    }
}

/// Whether this is a token: one or more of RFC 9110's tchar.
pub(crate) const fn is_token(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if !is_tchar(bytes[at]) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

/// RFC 9110's tchar (5.6.2).
pub(crate) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// An ordered list of headers. Names are compared without regard to ASCII case; values are bytes.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// What was received.
    wire: Bytes,
    /// What was added since.
    added: Vec<u8>,
    fields: Vec<Field>,
}

/// One header: where its name and value are. Added ones lie in `added`, the others in `wire`.
#[derive(Clone, Copy, Debug)]
struct Field {
    added: bool,
    name: Span,
    value: Span,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

impl Headers {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are, duplicates counted.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.raw().find(|(is, _)| is.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Every value of a name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.raw().filter(move |(is, _)| is.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Name (case as sent) and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.raw()
            .map(|(name, value)| (std::str::from_utf8(name).expect("names are tokens, so ASCII"), value))
    }

    /// Adds one at the end. CR, LF and NUL in the value become spaces (RFC 9110, 5.5): no value can end its line.
    pub fn append(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        let name = self.push(&name.0);
        let value = self.push(value.as_ref());
        self.fields.push(Field { added: true, name, value });
    }

    /// Replaces all of this name by one, in the place of the first; at the end if there was none.
    pub fn set(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        let key = &name.0;
        let field = Field { added: true, name: self.push(key), value: self.push(value.as_ref()) };
        let Self { wire, added, fields } = self;
        let mut found = false;
        fields.retain_mut(|other| {
            if !other.name(wire, added).eq_ignore_ascii_case(key) {
                return true;
            }
            *other = field;
            !std::mem::replace(&mut found, true)
        });
        if !found {
            fields.push(field);
        }
    }

    /// Removes all of this name; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|is, _| !is.eq_ignore_ascii_case(name.as_bytes()));
        self.len() < before
    }

    /// Keeps those for which `keep(name, value)` is true; the name's case is as sent.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self { wire, added, fields } = self;
        fields.retain(|field| keep(field.name(wire, added), field.value(wire, added)));
    }

    /// As `iter`, names as bytes.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let Self { wire, added, fields } = self;
        fields.iter().map(|field| (field.name(wire, added), field.value(wire, added)))
    }

    /// Those that were received in `wire`.
    pub(crate) fn received(wire: Bytes, spans: Spans) -> Self {
        Self { wire, added: Vec::new(), fields: spans.fields }
    }

    /// At least as many bytes as all lines take.
    pub(crate) fn size(&self) -> usize {
        self.wire.len() + self.added.len() + 4 * self.fields.len()
    }

    /// Writes a line for each, or what `choose` says of its name. Neighbours that were received as they are to be written
    /// are copied in one piece.
    pub(crate) fn write<'a>(&self, out: &mut BytesMut, choose: impl Fn(&[u8]) -> Line<'a>) {
        let Self { wire, added, fields } = self;
        let mut run = 0..0;
        for field in fields {
            let name = field.name(wire, added);
            let value = match choose(name) {
                Line::Without => continue,
                Line::AsIs => match field.line(wire) {
                    Some(line) if line.start == run.end => {
                        run.end = line.end;
                        continue;
                    }
                    Some(line) => {
                        out.extend_from_slice(&wire[std::mem::replace(&mut run, line)]);
                        continue;
                    }
                    None => field.value(wire, added),
                },
                Line::Value(value) => value,
            };
            out.extend_from_slice(&wire[std::mem::take(&mut run)]);
            for piece in [name, b": ", value, b"\r\n"] {
                out.extend_from_slice(piece);
            }
        }
        out.extend_from_slice(&wire[run]);
    }

    fn push(&mut self, text: &[u8]) -> Span {
        if self.added.is_empty() {
            self.added.reserve(ADDED_USUAL);
        }
        let span = Span { start: self.added.len() as u32, len: text.len() as u32 };
        self.added.extend_from_slice(text);
        if memchr3(b'\r', b'\n', 0, text).is_some() {
            for byte in &mut self.added[span.start as usize..] {
                if matches!(byte, b'\r' | b'\n' | 0) {
                    *byte = b' ';
                }
            }
        }
        span
    }
}

/// What to write for a header.
pub(crate) enum Line<'a> {
    AsIs,
    Without,
    /// The name with this value instead.
    Value(&'a [u8]),
}

/// Where received headers lie, while they are still being read.
pub(crate) struct Spans {
    /// The address of the first byte received.
    base: usize,
    fields: Vec<Field>,
}

impl Spans {
    /// Of about `count` headers in `wire`.
    pub(crate) fn within(wire: &[u8], count: usize) -> Self {
        // Room for a few of the proxy's own.
        Self { base: wire.as_ptr() as usize, fields: Vec::with_capacity(count + 8) }
    }

    /// Notes a header that lies in `wire`; the caller checked that the name is a token and the value clean.
    pub(crate) fn note(&mut self, name: &[u8], value: &[u8]) {
        let span = |part: &[u8]| Span {
            start: (part.as_ptr() as usize).saturating_sub(self.base) as u32,
            len: part.len() as u32,
        };
        self.fields.push(Field { added: false, name: span(name), value: span(value) });
    }
}

impl Field {
    fn name<'a>(&self, wire: &'a [u8], added: &'a [u8]) -> &'a [u8] {
        self.name.of(if self.added { added } else { wire })
    }

    fn value<'a>(&self, wire: &'a [u8], added: &'a [u8]) -> &'a [u8] {
        self.value.of(if self.added { added } else { wire })
    }

    /// The whole line, if it was received just as it would be written.
    fn line(&self, wire: &[u8]) -> Option<Range<usize>> {
        let name = self.name.start as usize..(self.name.start + self.name.len) as usize;
        let value = self.value.start as usize..(self.value.start + self.value.len) as usize;
        let plain = !self.added
            && value.start == name.end + 2
            && wire[name.end..].starts_with(b": ")
            && wire[value.end..].starts_with(b"\r\n");
        plain.then_some(name.start..value.end + 2)
    }
}

impl Span {
    fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..][..self.len as usize]
    }
}

/// Equal when the same names (without regard to case) and values come in the same order.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.raw().zip(other.raw()).all(|(a, b)| a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1)
    }
}

impl Eq for Headers {}
