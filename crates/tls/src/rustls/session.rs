//! A rustls connection behind [`Session`](crate::session::Session)'s methods.

use std::io::{Read, Write};

use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::ReadBuf;

use super::{failure, suites};
use crate::leaf::still_valid;
use crate::session::Taken;
use crate::{Failure, Handshake, Version};

/// rustls takes no more input while it holds this much plaintext.
const PLAINTEXT_LIMIT: usize = 16 * 1024;

pub(crate) struct Connection {
    rustls: Box<rustls::Connection>,
    /// Plaintext of one `feed` that is more than rustls keeps; unallocated otherwise.
    spill: Vec<u8>,
    taken: usize,
}

impl Connection {
    pub(super) fn new(rustls: rustls::Connection) -> Self {
        Self { rustls: Box::new(rustls), spill: Vec::new(), taken: 0 }
    }

    pub(crate) fn feed(&mut self, mut cipher: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        let mut outcome = Ok(());
        while !cipher.is_empty() && outcome.is_ok() {
            // A few KiB at a time; nothing after the peer's close_notify, whatever it goes on to send.
            if self.rustls.read_tls(&mut cipher).map_err(Failure::Io)? == 0 {
                break;
            }
            match self.rustls.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() >= PLAINTEXT_LIMIT && !cipher.is_empty() => {
                    self.spill(state.plaintext_bytes_to_read())?;
                }
                Ok(_) => {}
                Err(error) => outcome = Err(failure::from_rustls(error)),
            }
        }
        self.drain(wire)?;
        outcome
    }

    fn spill(&mut self, count: usize) -> Result<(), Failure> {
        let start = self.spill.len();
        self.spill.resize(start + count, 0);
        self.rustls.reader().read_exact(&mut self.spill[start..]).map_err(Failure::Io)
    }

    pub(crate) fn take_plaintext(
        &mut self,
        buf: &mut ReadBuf<'_>,
        wire: &mut Vec<u8>,
    ) -> Result<Taken, Failure> {
        let before = buf.filled().len();
        self.take_spill(buf);
        let state = self.rustls.process_new_packets();
        self.drain(wire)?;
        let state = state.map_err(failure::from_rustls)?;
        let count = state.plaintext_bytes_to_read().min(buf.remaining());
        if count > 0 {
            self.rustls.reader().read_exact(buf.initialize_unfilled_to(count)).map_err(Failure::Io)?;
            buf.advance(count);
        }
        Ok(match buf.filled().len() > before {
            true => Taken::Bytes,
            false if state.peer_has_closed() => Taken::Closed,
            false => Taken::Nothing,
        })
    }

    fn take_spill(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.spill[self.taken..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.spill.len() && self.taken > 0 {
            (self.spill, self.taken) = (Vec::new(), 0);
        }
    }

    pub(crate) fn seal(&mut self, mut plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        while !plain.is_empty() {
            // Takes what fits its buffer, which `drain` empties.
            let count = self.rustls.writer().write(plain).map_err(Failure::Io)?;
            self.drain(wire)?;
            if count == 0 {
                return Err(Failure::Other("nothing more can be sealed".into()));
            }
            plain = &plain[count..];
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        self.rustls.send_close_notify();
        // Into memory: it does not fail.
        let _ = self.drain(wire);
    }

    fn drain(&mut self, wire: &mut Vec<u8>) -> Result<(), Failure> {
        while self.rustls.wants_write() {
            self.rustls.write_tls(wire).map_err(Failure::Io)?;
        }
        Ok(())
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.rustls.is_handshaking()
    }

    pub(crate) fn agreed(&self) -> Result<Handshake, Failure> {
        let rustls = &self.rustls;
        let resumed = rustls.handshake_kind() == Some(HandshakeKind::Resumed);
        let leaf = rustls.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
        match (&leaf, &**rustls) {
            (Some(leaf), _) if resumed => still_valid(leaf)?,
            (None, rustls::Connection::Server(_)) => return Err(Failure::NoCertificate),
            _ => {}
        }
        let group = rustls.negotiated_key_exchange_group().map(|group| name_of(group.name()).into());
        Ok(Handshake {
            version: match rustls.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
                _ => Version::Tls12,
            },
            cipher: rustls
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| suites::iana_name(&suite))
                .into(),
            group,
            alpn: rustls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
            resumed,
            peer_leaf: leaf,
        })
    }
}

/// BoringSSL's names, so that both backends say the same.
fn name_of(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::secp256r1 => "P-256",
        NamedGroup::secp384r1 => "P-384",
        NamedGroup::secp521r1 => "P-521",
        other => other.as_str().unwrap_or("unknown"),
    }
}
