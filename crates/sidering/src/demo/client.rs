//! The demo's application: a blocking HTTP/1.1 client, just enough to ask and to see how it was answered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer of the demo takes longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection.
pub(super) struct Client(BufReader<TcpStream>);

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// One `GET` on a connection of its own.
    pub(super) fn fetch(address: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
        Self::connect(address)?.get(host, path, "")
    }

    /// `GET PATH`; `headers` are whole lines.
    pub(super) fn get(&mut self, host: &str, path: &str, headers: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (None, None);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            match line.trim_end() {
                "" if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                "" => break,
                first if status.is_none() => {
                    status = first.split(' ').nth(1).and_then(|code| code.parse().ok())
                }
                header => length = length.or_else(|| content_length(header)),
            }
        }
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Waits until the peer closes; true when it does so without a byte.
    pub(super) fn closed_without_a_byte(&mut self) -> bool {
        match self.0.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Asks in plaintext; true when the answer is a closed connection without a byte.
    pub(super) fn is_refused(address: SocketAddr, host: &str) -> io::Result<bool> {
        let mut client = Self::connect(address)?;
        client.0.get_mut().write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        Ok(client.closed_without_a_byte())
    }
}

fn content_length(header: &str) -> Option<usize> {
    let (name, value) = header.split_once(':')?;
    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
}
