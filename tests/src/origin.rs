//! The applications behind the sidecars: a thread per connection on std, that answer as told and report what reached
//! them. `Origin` speaks HTTP/1.1; `TcpOrigin` hands its connections to a function.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, Socket, Type};

use crate::PATIENCE;

/// A listener whose connections run one function, each on its own thread; it stops when dropped.
pub struct TcpOrigin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

/// An HTTP/1.1 server.
pub struct Origin {
    tcp: TcpOrigin,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// As sent, in order.
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
}

/// What the origin says to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub body: Vec<u8>,
    /// How the end of the body is told.
    pub framing: Framing,
}

/// A way to a server that stays closed until it is opened: the kernel drops every connection attempt until then, and
/// the client's keeps trying.
pub struct Gate {
    listener: TcpListener,
    /// What fills the queue, so that nobody else gets in.
    filler: TcpStream,
    server: SocketAddr,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    Length,
    /// Transfer-Encoding: chunked, in pieces of 1000 bytes.
    Chunked,
    /// The connection closes.
    Close,
}

impl Seen {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// 200 with a body of known length.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), framing: Framing::Length }
    }

    /// Another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Chunked.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Ended by closing.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }
}

impl TcpOrigin {
    /// On a loopback port of its own.
    pub fn start(connection: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into(), connection)
    }

    /// On that address.
    pub fn bind(
        address: SocketAddr,
        connection: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|why| panic!("binding {address}: {why}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let origin = Self { address, stop: stop.clone(), accepted: accepted.clone() };
        let connection = Arc::new(connection);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let connection = connection.clone();
                // Its end is the peer's to see; a test that cares asks what was seen.
                thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true));
                    connection(stream)
                });
            }
        });
        origin
    }

    /// Sends everything back until the peer half-closes, then half-closes too.
    pub fn echo() -> Self {
        Self::start(|mut stream| {
            io::copy(&mut stream.try_clone()?, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for TcpOrigin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread; that it is gone already would do as well.
        let _ = TcpStream::connect(self.address);
    }
}

impl Origin {
    /// Answers every request with its name, or with the request's body where there is one.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |seen| match seen.body.is_empty() {
            true => Answer::ok(format!("this is {name}\n")),
            false => Answer::ok(seen.body.clone()),
        })
    }

    /// Answers as the function says.
    pub fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into(), answer)
    }

    /// The same on that address.
    pub fn bind(address: SocketAddr, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let tcp = TcpOrigin::bind(address, move |stream| {
            let mut reader = BufReader::new(stream);
            while let Some(request) = read_request(&mut reader)? {
                let reply = answer(&request);
                let head = request.method == "HEAD";
                log.lock().expect("no test panics while it holds this").push(request);
                write_answer(reader.get_mut(), &reply, head)?;
                if reply.framing == Framing::Close {
                    return reader.get_mut().shutdown(Shutdown::Both);
                }
            }
            Ok(())
        });
        Self { tcp, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.tcp.address()
    }

    /// Every request so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics while it holds this").clone()
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request has reached the origin")
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.tcp.accepted()
    }
}

impl Gate {
    /// In front of `server`, at that address.
    pub fn shut(address: SocketAddr, server: SocketAddr) -> Self {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, None).expect("there are sockets left");
        socket.bind(&address.into()).unwrap_or_else(|why| panic!("binding {address}: {why}"));
        // A queue of none holds one (Linux counts from zero).
        socket.listen(0).expect("a bound socket can listen");
        let filler = TcpStream::connect(address).expect("the first one gets in");
        Self { listener: socket.into(), filler, server }
    }

    /// Lets the next connection through, and carries its bytes both ways until it ends.
    pub fn open(self) {
        drop(self.filler);
        self.listener.accept().expect("the filler is in the queue");
        let (client, _) = self.listener.accept().expect("the client's next attempt gets in");
        let server = TcpStream::connect(self.server).expect("the server listens");
        let (mut from, mut to) = (client.try_clone().expect("a socket can be cloned"), server);
        let (mut back, mut out) = (to.try_clone().expect("a socket can be cloned"), client);
        // Their end is the connection's end.
        thread::spawn(move || io::copy(&mut from, &mut to));
        thread::spawn(move || io::copy(&mut back, &mut out));
    }
}

/// Both ways until both have ended.
///
/// # Errors
/// Of either socket.
pub fn carry(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Write)));
    io::copy(&mut server, &mut client).and_then(|_| client.shutdown(Shutdown::Write))?;
    up.join().expect("copying does not panic")
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let first = read_line(reader)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default().into(), words.next().unwrap_or_default().into());
    let mut seen = Seen { method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        seen.headers.push((name.into(), value.trim().into()));
    }
    if seen.header("transfer-encoding").is_some() {
        seen.body = read_chunks(reader)?;
    } else if let Some(length) = seen.header("content-length") {
        seen.body = vec![0; length.parse().map_err(|_| io::ErrorKind::InvalidData)?];
        reader.read_exact(&mut seen.body)?;
    }
    Ok(Some(seen))
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        read_line(reader)?;
    }
}

/// Empty at the end of the connection too.
fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn write_answer(stream: &mut TcpStream, answer: &Answer, head_only: bool) -> io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {} Told\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    match answer.framing {
        Framing::Length => bytes.extend(format!("Content-Length: {}\r\n", answer.body.len()).bytes()),
        Framing::Chunked => bytes.extend(b"Transfer-Encoding: chunked\r\n"),
        Framing::Close => bytes.extend(b"Connection: close\r\n"),
    }
    bytes.extend(b"\r\n");
    stream.write_all(&bytes)?;
    if head_only {
        return Ok(());
    }
    if answer.framing != Framing::Chunked {
        return stream.write_all(&answer.body);
    }
    for piece in answer.body.chunks(1000) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}
