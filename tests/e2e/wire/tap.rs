//! Stands at an endpoint's address: keeps how each connection begins, and carries it on to the server behind.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sidering_tests::{Answer, Origin, TcpOrigin, carry};

/// The servers behind every tap.
pub(super) struct Behind {
    tls: Mutex<Option<SocketAddr>>,
    plaintext: Origin,
}

impl Default for Behind {
    fn default() -> Self {
        Self { tls: Mutex::default(), plaintext: Origin::start(|_| Answer::ok("plaintext").until_close()) }
    }
}

impl Behind {
    /// From now on TLS is for that server.
    pub(super) fn put(&self, server: SocketAddr) {
        *self.tls.lock().expect("no holder panics") = Some(server);
    }
}

pub(super) struct Tap {
    _origin: TcpOrigin,
    began: Arc<Mutex<Option<Value>>>,
}

impl Tap {
    pub(super) fn at(address: SocketAddr, behind: Arc<Behind>) -> Self {
        let began = Arc::<Mutex<Option<Value>>>::default();
        let keep = began.clone();
        let origin = TcpOrigin::bind(address, move |mut stream| {
            let mut first = vec![0; 5];
            stream.read_exact(&mut first)?;
            let tls = first[0] == 0x16;
            if tls {
                first.resize(5 + usize::from(u16::from_be_bytes([first[3], first[4]])), 0);
                stream.read_exact(&mut first[5..])?;
            }
            *keep.lock().expect("no holder panics") =
                Some(if tls { hello(&first[9..]) } else { Value::Null });
            let server = match tls {
                true => behind.tls.lock().expect("no holder panics").ok_or(io::ErrorKind::NotConnected)?,
                false => behind.plaintext.address(),
            };
            let mut server = TcpStream::connect(server)?;
            server.write_all(&first)?;
            carry(stream, server)
        });
        Self { _origin: origin, began }
    }

    pub(super) fn forget(&self) {
        *self.began.lock().expect("no holder panics") = None;
    }

    /// How the latest connection began: null for plaintext, `sni` and `alpn` of TLS. None if there was none.
    pub(super) fn began(&self) -> Option<Value> {
        self.began.lock().expect("no holder panics").clone()
    }
}

/// What a ClientHello (RFC 8446, 4.1.2) asks for; it comes from our own sidecar, and is well formed.
fn hello(message: &[u8]) -> Value {
    let mut rest = &message[2 + 32..];
    take::<1>(&mut rest);
    take::<2>(&mut rest);
    take::<1>(&mut rest);
    let mut extensions = take::<2>(&mut rest);
    let (mut sni, mut alpn) = (Value::Null, Vec::new());
    while let [high, low, ..] = *extensions {
        extensions = &extensions[2..];
        let mut extension = take::<2>(&mut extensions);
        match u16::from_be_bytes([high, low]) {
            0 => sni = json!(String::from_utf8_lossy(take::<2>(&mut &take::<2>(&mut extension)[1..]))),
            16 => {
                let mut names = take::<2>(&mut extension);
                while !names.is_empty() {
                    alpn.push(String::from_utf8_lossy(take::<1>(&mut names)).into_owned());
                }
            }
            _ => {}
        }
    }
    json!({"sni": sni, "alpn": alpn})
}

/// A vector behind its length of `N` bytes.
fn take<'b, const N: usize>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let (length, rest) = bytes.split_at(N);
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (vector, rest) = rest.split_at(length);
    *bytes = rest;
    vector
}
