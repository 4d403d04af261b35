//! Heads as the proxy sees them, the same for every version. What frames a message (Content-Length,
//! Transfer-Encoding) is not among the headers: it is a `Length`, and each version writes its own.

use http::Method;

use crate::Headers;

/// The version that a peer spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: one exchange per connection unless the client asked to keep it, and no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As in a request line and in access logs: `HTTP/1.1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// The scheme of an absolute-form target, or of HTTP/2's `:scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Length {
    /// There is none, and nothing said so: a request without framing headers, or a response that cannot have one.
    Empty,
    /// This many bytes. For a response to HEAD and for 304 it is what was announced; no byte follows.
    Exact(u64),
    /// Until it ends: chunks in HTTP/1.1, the end of the connection towards HTTP/1.0.
    Unknown,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, case as sent. Never CONNECT.
    pub method: Method,
    /// Path and query as sent, or `*`; always visible ASCII without `#`.
    pub target: String,
    /// Host and port as sent: from an absolute-form target, else from Host. Absent only in HTTP/1.0. Written as Host
    /// (in the place of the Host header, if there is one): setting it is enough to rewrite the host.
    pub authority: Option<String>,
    /// From an absolute-form target; absent otherwise.
    pub scheme: Option<Scheme>,
    /// What the client spoke. Not used when a head is written.
    pub version: Version,
    /// All but those that frame the body.
    pub headers: Headers,
    /// Asks to become a WebSocket (RFC 6455). The Upgrade and Connection headers are written from this.
    pub websocket: bool,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// What the server spoke. Not used when a head is written.
    pub version: Version,
    /// All but those that frame the body.
    pub headers: Headers,
}

impl ResponseHead {
    /// A head without headers.
    pub fn new(status: u16) -> Self {
        Self { status, version: Version::Http11, headers: Headers::new() }
    }
}
