//! Reads a ClientHello out of a connection's first bytes, without a TLS library: which chain a connection belongs to
//! is decided by what the client *offers* (RFC 8446 4.1.2, RFC 6066 3, RFC 7301). Hostile input throughout.

/// Bytes of input, and of the hello itself, beyond which we stop waiting.
const LIMIT: usize = 64 * 1024;

/// What a client offers, as far as choosing a chain needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The SNI host name, in lower case.
    pub server_name: Option<Box<str>>,
    /// The offered application protocols, in order; bytes that are no UTF-8 (GREASE) show as U+FFFD.
    pub alpn: Vec<Box<str>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// A good beginning; more is needed.
    Incomplete,
    /// A whole ClientHello.
    Hello(ClientHello),
    /// Not TLS; said as early as the first byte that no TLS record can have there.
    NotTls,
    /// A TLS record layer with something broken in it.
    Malformed(&'static str),
}

/// Why a hello cannot be read yet, or at all.
enum Unread {
    Incomplete,
    Malformed(&'static str),
}

/// Reads the first bytes of a connection.
pub fn inspect(bytes: &[u8]) -> Inspected {
    if !could_be_tls(bytes) {
        return Inspected::NotTls;
    }
    match handshake(bytes).and_then(|message| hello(&message)) {
        Ok(hello) => Inspected::Hello(hello),
        Err(Unread::Incomplete) if bytes.len() >= LIMIT => {
            Inspected::Malformed("the ClientHello is too long")
        }
        Err(Unread::Incomplete) => Inspected::Incomplete,
        Err(Unread::Malformed(why)) => Inspected::Malformed(why),
    }
}

/// A handshake record of SSL 3 or later: 22, 3, and a minor version that exists.
fn could_be_tls(bytes: &[u8]) -> bool {
    let begins = |at: usize, good: fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| good(byte));
    begins(0, |kind| kind == 22) && begins(1, |major| major == 3) && begins(2, |minor| minor <= 4)
}

/// The body of the first handshake message, put together from its records (RFC 8446 5.1).
fn handshake(mut bytes: &[u8]) -> Result<Vec<u8>, Unread> {
    let mut message = Vec::new();
    loop {
        if let Some(body) = whole(&message)? {
            return Ok(body.to_vec());
        }
        let Some((&[kind, major, _minor, high, low], rest)) = bytes.split_first_chunk() else {
            return Err(Unread::Incomplete);
        };
        if kind != 22 || major != 3 {
            return Err(Unread::Malformed("another record within the ClientHello"));
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > 1 << 14 {
            return Err(Unread::Malformed("a record of impossible length"));
        }
        let fragment = &rest[..length.min(rest.len())];
        message.extend_from_slice(fragment);
        bytes = &rest[fragment.len()..];
    }
}

/// `Some` once the message is complete; says what is wrong with it as early as that shows.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, Unread> {
    if message.first().is_some_and(|&kind| kind != 1) {
        return Err(Unread::Malformed("the first message is no ClientHello"));
    }
    let Some((&[_, a, b, c], body)) = message.split_first_chunk() else { return Ok(None) };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if length > LIMIT {
        return Err(Unread::Malformed("the ClientHello is too long"));
    }
    Ok(body.get(..length))
}

/// RFC 8446 4.1.2.
fn hello(body: &[u8]) -> Result<ClientHello, Unread> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    reader.short_vector()?;
    reader.vector()?;
    reader.short_vector()?;
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Reader(reader.last_vector()?);
    let (mut named, mut offered) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector()?;
        match kind {
            SERVER_NAME if !std::mem::replace(&mut named, true) => hello.server_name = server_name(data)?,
            ALPN if !std::mem::replace(&mut offered, true) => hello.alpn = alpn(data)?,
            SERVER_NAME | ALPN => return Err(Unread::Malformed("an extension comes twice")),
            _ => {}
        }
    }
    Ok(hello)
}

/// Extension numbers (IANA).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// RFC 6066 3: of host names there is at most one.
fn server_name(data: &[u8]) -> Result<Option<Box<str>>, Unread> {
    const BAD: Unread = Unread::Malformed("the server name is none");
    let mut list = Reader(Reader(data).last_vector()?);
    let mut host = None;
    while !list.0.is_empty() {
        let kind = list.take(1)?;
        let name = list.vector()?;
        if kind != [0] {
            continue;
        }
        let text = std::str::from_utf8(name).map_err(|_| BAD)?;
        if host.is_some() || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BAD);
        }
        host = Some(text.to_ascii_lowercase().into_boxed_str());
    }
    Ok(host)
}

/// RFC 7301 3.1.
fn alpn(data: &[u8]) -> Result<Vec<Box<str>>, Unread> {
    let mut list = Reader(Reader(data).last_vector()?);
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let name = list.short_vector()?;
        if name.is_empty() {
            return Err(Unread::Malformed("an application protocol without a name"));
        }
        names.push(String::from_utf8_lossy(name).into());
    }
    Ok(names)
}

/// What is left of a complete message: running out of it is malformed, not incomplete.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unread> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Unread::Malformed("a length that leads out of the ClientHello"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Unread> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// With a length of two bytes.
    fn vector(&mut self) -> Result<&'a [u8], Unread> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// With a length of two bytes, and nothing after it: two readers must not see two different hellos.
    fn last_vector(mut self) -> Result<&'a [u8], Unread> {
        let vector = self.vector()?;
        if self.0.is_empty() { Ok(vector) } else { Err(Unread::Malformed("bytes after the last field")) }
    }

    /// With a length of one byte.
    fn short_vector(&mut self) -> Result<&'a [u8], Unread> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests;
