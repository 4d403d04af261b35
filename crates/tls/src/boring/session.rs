//! A BoringSSL connection behind [`Session`](crate::session::Session)'s methods: BoringSSL reads from memory and
//! writes to memory.

use std::io::{self, Read, Write};

use boring::ssl::{ErrorCode, Ssl, SslRef, SslStream, SslVersion};
use tokio::io::ReadBuf;

use super::{failure, ffi};
use crate::leaf::still_valid;
use crate::session::Taken;
use crate::{Failure, Handshake, Version};

pub(crate) struct Connection {
    stream: Box<SslStream<Memory>>,
    handshaking: bool,
    server: bool,
}

/// Both directions of the wire. Unallocated while there is nothing in them.
#[derive(Default)]
struct Memory {
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
}

impl Connection {
    pub(super) fn server(ssl: Ssl) -> Self {
        Self::new(ssl, true)
    }

    pub(super) fn client(ssl: Ssl) -> Self {
        Self::new(ssl, false)
    }

    fn new(ssl: Ssl, server: bool) -> Self {
        let stream = SslStream::new(ssl, Memory::default()).expect("memory needs nothing that can fail");
        Self { stream: Box::new(stream), handshaking: true, server }
    }

    pub(crate) fn feed(&mut self, cipher: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        self.stream.get_mut().input.extend_from_slice(cipher);
        let outcome = if self.handshaking { self.shake() } else { Ok(()) };
        self.drain(wire);
        outcome
    }

    fn shake(&mut self) -> Result<(), Failure> {
        let shaken = if self.server { self.stream.accept() } else { self.stream.connect() };
        match shaken {
            Ok(()) => self.handshaking = false,
            Err(error) if error.code() == ErrorCode::WANT_READ => {}
            Err(error) => return Err(failure::from_boring(&error, self.stream.ssl())),
        }
        Ok(())
    }

    pub(crate) fn take_plaintext(
        &mut self,
        buf: &mut ReadBuf<'_>,
        wire: &mut Vec<u8>,
    ) -> Result<Taken, Failure> {
        let mut taken = Ok(Taken::Nothing);
        while buf.remaining() > 0 {
            match self.stream.ssl_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    taken = Ok(Taken::Bytes);
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => break,
                // What came before the end, or before a broken record, counts first; the next call says the rest.
                Err(_) if matches!(taken, Ok(Taken::Bytes)) => break,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    taken = Ok(Taken::Closed);
                    break;
                }
                Err(error) => {
                    taken = Err(failure::from_boring(&error, self.stream.ssl()));
                    break;
                }
            }
        }
        self.drain(wire);
        taken
    }

    pub(crate) fn seal(&mut self, mut plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        while !plain.is_empty() {
            let count = self
                .stream
                .ssl_write(plain)
                .map_err(|error| failure::from_boring(&error, self.stream.ssl()))?;
            plain = &plain[count..];
        }
        self.drain(wire);
        Ok(())
    }

    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        // In the middle of a handshake there is nothing to say good-bye to.
        let _ = self.stream.shutdown();
        self.drain(wire);
    }

    fn drain(&mut self, wire: &mut Vec<u8>) {
        let memory = self.stream.get_mut();
        if memory.output.is_empty() {
            return;
        }
        wire.extend_from_slice(&memory.output);
        memory.output = Vec::new();
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    pub(crate) fn agreed(&self) -> Result<Handshake, Failure> {
        let ssl = self.stream.ssl();
        let resumed = ssl.session_reused();
        let leaf = ssl
            .peer_certificate()
            .map(|leaf| leaf.to_der())
            .transpose()
            .map_err(|error| Failure::BadCertificate(error.to_string()))?;
        match &leaf {
            Some(leaf) if resumed => still_valid(leaf)?,
            None if self.server => return Err(Failure::NoCertificate),
            _ => {}
        }
        let version = match ssl.version2() {
            Some(SslVersion::TLS1_3) => Version::Tls13,
            _ => Version::Tls12,
        };
        // BoringSSL goes on naming the group that the session began with.
        let exchanged = !resumed || version == Version::Tls13;
        Ok(Handshake {
            version,
            cipher: cipher(ssl).into(),
            group: ffi::group_name(ssl).filter(|_| exchanged).map(Into::into),
            alpn: ssl.selected_alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
            resumed,
            peer_leaf: leaf,
        })
    }
}

fn cipher(ssl: &SslRef) -> &'static str {
    ssl.current_cipher().and_then(|cipher| cipher.standard_name()).unwrap_or_default()
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.read..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        if self.read == self.input.len() {
            (self.input, self.read) = (Vec::new(), 0);
        }
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
