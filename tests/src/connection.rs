//! A bare HTTP/1.1 client: writes what it is told, parses strictly what comes back. Own code, so that the proxy's
//! parser is not its own judge.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::{PATIENCE, record};

/// One connection from an application.
pub struct Connection {
    reader: BufReader<TcpStream>,
    own: SocketAddr,
    peer: SocketAddr,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// As sent, in order.
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

impl Connection {
    /// Connects; nothing takes longer than the test's patience.
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|why| panic!("connecting to {address}: {why}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        let own = stream.local_addr().expect("it is connected");
        Self { reader: BufReader::new(stream), own, peer: address }
    }

    /// The socket.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    /// What is on record of it at the sidecar that it leads to, and `rest`.
    pub fn record(&self, direction: &str, phase: &str, rest: Value) -> Value {
        record(direction, phase, &self.own.to_string(), self.peer, rest)
    }

    /// Writes bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream().write_all(bytes.as_ref()).expect("the peer takes bytes");
        self
    }

    /// Half-closes.
    pub fn finish(&mut self) -> &mut Self {
        self.stream().shutdown(Shutdown::Write).expect("an open connection can be half-closed");
        self
    }

    /// `GET PATH` for a host, on this connection.
    pub fn get(&mut self, host: &str, path: &str) -> Reply {
        self.request("GET", host, path, &[], b"")
    }

    /// A request with headers and, unless empty, a body of known length.
    pub fn request(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes);
        self.reply_to(method)
    }

    /// The next response, which answers `method`.
    pub fn reply_to(&mut self, method: &str) -> Reply {
        self.try_reply_to(method).unwrap_or_else(|why| panic!("reading a response: {why}"))
    }

    /// The next response; an error when the connection ends or what comes is no response.
    ///
    /// # Errors
    /// Of the socket, or `InvalidData`.
    pub fn try_reply_to(&mut self, method: &str) -> io::Result<Reply> {
        loop {
            let (status, headers) = self.read_head()?;
            let mut reply = Reply { status, headers, body: Vec::new() };
            if status / 100 == 1 {
                continue;
            }
            if method != "HEAD" && status != 204 && status != 304 {
                reply.body = self.read_body(&reply)?;
            }
            return Ok(reply);
        }
    }

    /// Everything until the peer closes: an orderly end or an error as `Err`.
    ///
    /// # Errors
    /// Of the socket, a reset above all.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).map(|_| rest)
    }

    /// Asserts that the peer closes without a byte: how Istio refuses what it cannot answer.
    #[track_caller]
    pub fn expect_closed_without_a_byte(&mut self) {
        match self.read_to_end() {
            Ok(bytes) => assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes)),
            Err(why) => assert_eq!(why.kind(), io::ErrorKind::ConnectionReset, "{why}"),
        }
    }

    /// The next response head alone, an informational one too.
    pub fn head(&mut self) -> (u16, Vec<(String, String)>) {
        self.read_head().unwrap_or_else(|why| panic!("reading a response head: {why}"))
    }

    /// Asserts that a new connection is closed without a byte whatever is sent on it; the reset may come first.
    #[track_caller]
    pub fn expect_refused(address: SocketAddr, bytes: &[u8]) {
        let mut answer = Vec::new();
        let refused = TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(bytes)?;
            stream.read_to_end(&mut answer)
        });
        if let Err(why) = refused {
            assert!(
                [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&why.kind()),
                "{why}"
            );
        }
        assert!(answer.is_empty(), "{:?}", String::from_utf8_lossy(&answer));
    }

    /// Asserts that these bytes of a body come next; chunked as the headers say.
    #[track_caller]
    pub fn expect_next(&mut self, body: &str, headers: &[(String, String)]) {
        let chunked = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
        let framed = format!("{:x}\r\n{body}\r\n", body.len());
        let expected = if chunked { &*framed } else { body };
        let mut bytes = vec![0; expected.len()];
        self.reader.read_exact(&mut bytes).expect("the bytes come");
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    /// Asserts that what is sent comes back.
    #[track_caller]
    pub fn expect_echo(&mut self, text: &str) {
        let mut echo = vec![0; text.len()];
        self.send(text).reader.read_exact(&mut echo).expect("the echo comes");
        assert_eq!(echo, text.as_bytes());
    }

    fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.read_line()?;
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| invalid(format!("status line {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("header {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        if reply.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks();
        }
        let Some(length) = reply.header("content-length") else {
            return self.read_to_end();
        };
        let length = length.parse().map_err(|_| invalid(format!("content-length {length:?}")))?;
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).map(|()| body)
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size =
                usize::from_str_radix(&line, 16).map_err(|_| invalid(format!("chunk size {line:?}")))?;
            let start = body.len();
            body.resize(start + size, 0);
            self.reader.read_exact(&mut body[start..])?;
            let end = self.read_line()?;
            if size == 0 || !end.is_empty() {
                return if end.is_empty() {
                    Ok(body)
                } else {
                    Err(invalid(format!("after a chunk {end:?}")))
                };
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(text) => Ok(text.to_owned()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(invalid(format!("line {line:?}"))),
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
