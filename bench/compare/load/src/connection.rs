//! One client connection: HTTP/1.1, one request at a time, with TLS or without.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientConfig, ClientConnection, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CipherSuite, DigitallySignedStruct, HandshakeKind, NamedGroup, SignatureScheme};

use crate::Result;
use crate::args::Args;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: server.default.svc\r\nUser-Agent: load\r\nAccept: */*\r\nx-tenant: blue\r\n\r\n";

pub struct Target {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

pub struct Connection {
    pub stream: TcpStream,
    tls: Option<ClientConnection>,
    /// Of an answer that has begun.
    received: Vec<u8>,
    /// Its length, once its head is there.
    length: Option<usize>,
    /// When the outstanding request should have left, whether it did or not.
    pub due: Instant,
}

pub enum Progress {
    Pending,
    /// Whether it was a 200.
    Answered(bool),
    Closed,
}

impl Target {
    /// `--target`; with `--certificate` and `--key` mutual TLS, `--resume 1` with resumption.
    pub fn parse(args: &Args) -> Result<Self> {
        let address = args.required("target")?.parse()?;
        let tls = args.text("certificate").map(|certificate| client_config(args, certificate)).transpose()?;
        Ok(Self { address, tls })
    }

    /// Starts the handshake, if there is one.
    pub fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let tls = match &self.tls {
            Some(config) => Some(ClientConnection::new(config.clone(), "server.default.svc".try_into()?)?),
            None => None,
        };
        let mut connection =
            Connection { stream, tls, received: Vec::new(), length: None, due: Instant::now() };
        connection.flush()?;
        Ok(connection)
    }
}

impl Connection {
    pub fn ready(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    pub fn resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    pub fn send(&mut self, due: Instant) -> io::Result<()> {
        self.due = due;
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(REQUEST)?;
                self.flush()
            }
            None => self.stream.write_all(REQUEST),
        }
    }

    /// Takes what has arrived, of the handshake or of an answer.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Progress> {
        let read = match &mut self.tls {
            None => self.stream.read(buffer),
            Some(tls) => {
                match tls.read_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Pending),
                    Err(error) => return Err(error.into()),
                }
                tls.process_new_packets()?;
                let read = tls.reader().read(buffer);
                self.flush()?;
                read
            }
        };
        match read {
            Ok(0) => Ok(Progress::Closed),
            Ok(read) => self.answer(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Pending),
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Progress> {
        self.received.extend_from_slice(bytes);
        let length = match self.length {
            Some(length) => length,
            None => match answer_length(&self.received)? {
                Some(length) => *self.length.insert(length),
                None => return Ok(Progress::Pending),
            },
        };
        if self.received.len() < length {
            return Ok(Progress::Pending);
        }
        let good = self.received.starts_with(b"HTTP/1.1 200") && self.received.len() == length;
        self.received.clear();
        self.length = None;
        Ok(Progress::Answered(good))
    }

    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.flush();
    }

    /// What we send is small: a socket that does not take it at once is an error.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
            }
        }
        Ok(())
    }
}

/// Head and body; `None` while the head is incomplete.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = answer.parse(bytes)? else { return Ok(None) };
    let length = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.ok_or("an answer has no Content-Length")?;
    Ok(Some(head + str::from_utf8(length.value)?.parse::<usize>()?))
}

/// The parameters that the configurations of all peers name: TLS 1.3, AES-128-GCM, X25519.
fn client_config(args: &Args, certificate: &str) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<std::result::Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(args.required("key")?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnyone))
        .with_client_auth_cert(chain, key)?;
    config.resumption = match args.number("resume", 0)? {
        0 => Resumption::disabled(),
        _ => Resumption::store(Arc::new(Tickets::default())),
    };
    Ok(Arc::new(config))
}

/// Of the one server there is. rustls keeps eight, fewer than we have connections.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

impl ClientSessionStore for Tickets {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

/// The cost of our own checks would hide the proxy's.
#[derive(Debug)]
struct TrustAnyone;

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
