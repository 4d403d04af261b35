//! One TLS connection without a socket: bytes in, bytes out, synchronous. The two backends meet here and nowhere else.
//! [`TlsStream`](crate::TlsStream) moves the bytes.

use tokio::io::ReadBuf;

#[cfg(feature = "boring")]
use crate::boring;
use crate::config::{ClientSide, ServerSide};
#[cfg(feature = "rustls")]
use crate::rustls;
use crate::{ClientConfig, Failure, ServerConfig, Version};

/// A connection's TLS state. `wire` parameters are appended to: what has to be sent to the peer, in order, also when
/// the call fails (then it is the alert).
pub(crate) enum Session {
    /// rustls.
    #[cfg(feature = "rustls")]
    Rustls(rustls::Connection),
    /// BoringSSL.
    #[cfg(feature = "boring")]
    Boring(boring::Connection),
}

/// What was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The protocol version.
    pub version: Version,
    /// The cipher suite's IANA name.
    pub cipher: Box<str>,
    /// The key exchange group, as BoringSSL names it: `X25519MLKEM768`, `X25519`, `P-256`. None where a resumed
    /// TLS 1.2 session needed none.
    pub group: Option<Box<str>>,
    /// The selected application protocol.
    pub alpn: Option<Box<str>>,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The peer's leaf, DER, whose chain the backend has verified now or, if resumed, when the session began.
    pub peer_leaf: Option<Vec<u8>>,
}

/// What there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Some bytes.
    Bytes,
    /// Nothing until more input arrives.
    Nothing,
    /// Nothing ever again: the peer sent `close_notify`.
    Closed,
}

impl Session {
    /// A server's side. `offered` is what the ClientHello offers: where nothing overlaps no protocol is selected and
    /// the handshake goes on, as with Envoy.
    pub(crate) fn server(config: &ServerConfig, offered: &[Box<str>]) -> Result<Self, Failure> {
        match config.0 {
            #[cfg(feature = "rustls")]
            ServerSide::Rustls(ref server) => server.session(offered).map(Session::Rustls),
            #[cfg(feature = "boring")]
            ServerSide::Boring(ref server) => server.session(offered).map(Session::Boring),
        }
    }

    /// A client's side; without a name no SNI is sent.
    pub(crate) fn client(config: &ClientConfig, server_name: Option<&str>) -> Result<Self, Failure> {
        match config.0 {
            #[cfg(feature = "rustls")]
            ClientSide::Rustls(ref client) => client.session(server_name).map(Session::Rustls),
            #[cfg(feature = "boring")]
            ClientSide::Boring(ref client) => client.session(server_name).map(Session::Boring),
        }
    }

    /// Takes all of what the peer sent; with nothing, starts a client's handshake.
    pub(crate) fn feed(&mut self, cipher: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        match *self {
            #[cfg(feature = "rustls")]
            Session::Rustls(ref mut session) => session.feed(cipher, wire),
            #[cfg(feature = "boring")]
            Session::Boring(ref mut session) => session.feed(cipher, wire),
        }
    }

    /// Moves decrypted bytes into `buf`.
    pub(crate) fn take_plaintext(
        &mut self,
        buf: &mut ReadBuf<'_>,
        wire: &mut Vec<u8>,
    ) -> Result<Taken, Failure> {
        match *self {
            #[cfg(feature = "rustls")]
            Session::Rustls(ref mut session) => session.take_plaintext(buf, wire),
            #[cfg(feature = "boring")]
            Session::Boring(ref mut session) => session.take_plaintext(buf, wire),
        }
    }

    /// Encrypts all of `plain`.
    pub(crate) fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        match *self {
            #[cfg(feature = "rustls")]
            Session::Rustls(ref mut session) => session.seal(plain, wire),
            #[cfg(feature = "boring")]
            Session::Boring(ref mut session) => session.seal(plain, wire),
        }
    }

    /// Says `close_notify`; reading goes on.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        match *self {
            #[cfg(feature = "rustls")]
            Session::Rustls(ref mut session) => session.close(wire),
            #[cfg(feature = "boring")]
            Session::Boring(ref mut session) => session.close(wire),
        }
    }

    /// The handshake is not over yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        match *self {
            #[cfg(feature = "rustls")]
            Session::Rustls(ref session) => session.is_handshaking(),
            #[cfg(feature = "boring")]
            Session::Boring(ref session) => session.is_handshaking(),
        }
    }

    /// What was agreed; asked once, after the handshake.
    pub(crate) fn agreed(&self) -> Result<Handshake, Failure> {
        match *self {
            #[cfg(feature = "rustls")]
            Session::Rustls(ref session) => session.agreed(),
            #[cfg(feature = "boring")]
            Session::Boring(ref session) => session.agreed(),
        }
    }
}
