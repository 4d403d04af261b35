//! The application behind the sidecar: keeps the first bytes that reach it, answers and closes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};

use sidering_tests::TcpOrigin;

pub(super) struct Application {
    origin: TcpOrigin,
    seen: Arc<Mutex<Option<String>>>,
}

impl Application {
    pub(super) fn start() -> Self {
        let seen = Arc::<Mutex<Option<String>>>::default();
        let keep = seen.clone();
        let origin = TcpOrigin::start(move |mut stream| {
            let (mut bytes, mut buffer) = (Vec::new(), [0; 16384]);
            while !is_whole(&bytes) {
                match stream.read(&mut buffer)? {
                    0 => break,
                    n => bytes.extend_from_slice(&buffer[..n]),
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let reply = match is_request(&text) {
                true => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                false => "seen",
            };
            *keep.lock().expect("no holder panics") = Some(text);
            stream.write_all(reply.as_bytes())?;
            stream.shutdown(Shutdown::Both)
        });
        Self { origin, seen }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// What has reached it since this was asked last.
    pub(super) fn take(&self) -> Option<String> {
        self.seen.lock().expect("no holder panics").take()
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes.starts_with(HELLO.as_bytes()) || bytes.windows(4).any(|four| four == b"\r\n\r\n")
}

/// How a TLS record with a handshake message begins.
const HELLO: &str = "\x16\x03";

pub(super) fn is_hello(seen: &str) -> bool {
    seen.starts_with(HELLO)
}

/// A request that the sidecar has looked at, and not merely carried: then it has an id.
pub(super) fn is_request(seen: &str) -> bool {
    seen.to_ascii_lowercase().contains("\r\nx-request-id: ")
}
