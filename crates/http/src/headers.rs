//! The header list: in order, with duplicates and the case they came in. Kept as spans into the received bytes, so
//! that a head of any size costs two allocations.

use bytes::Bytes;

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
        let key = name.as_str();
        let place = self.raw().position(|(is, _)| is.eq_ignore_ascii_case(key.as_bytes()));
        self.remove(key);
        self.append(name, value);
        if let Some(place) = place {
            self.fields[place..].rotate_right(1);
        }
    }

    /// Removes all of this name; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|is, _| !is.eq_ignore_ascii_case(name));
        self.len() < before
    }

    /// Keeps those for which `keep(name, value)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        let Self { wire, added, fields } = self;
        fields.retain(|field| {
            let text: &[u8] = if field.added { added } else { wire };
            keep(
                std::str::from_utf8(field.name.of(text)).expect("names are tokens, so ASCII"),
                field.value.of(text),
            )
        });
    }

    /// As `iter`, names as bytes.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| {
            let text: &[u8] = if field.added { &self.added } else { &self.wire };
            (field.name.of(text), field.value.of(text))
        })
    }

    /// A list whose headers lie in `wire`, to be filled by `note`.
    pub(crate) fn received(wire: Bytes, count: usize) -> Self {
        // Room for a few of the proxy's own.
        Self { wire, added: Vec::new(), fields: Vec::with_capacity(count + 8) }
    }

    /// Notes a header that lies in `wire`; the caller checked that the name is a token and the value clean.
    pub(crate) fn note(&mut self, name: &[u8], value: &[u8]) {
        let base = self.wire.as_ptr() as usize;
        let within = |part: &[u8]| Span {
            start: (part.as_ptr() as usize).saturating_sub(base) as u32,
            len: part.len() as u32,
        };
        let (name, value) = (within(name), within(value));
        debug_assert!((value.start + value.len) as usize <= self.wire.len());
        self.fields.push(Field { added: false, name, value });
    }

    fn push(&mut self, text: &[u8]) -> Span {
        let span = Span { start: self.added.len() as u32, len: text.len() as u32 };
        self.added
            .extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }));
        span
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
