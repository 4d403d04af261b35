//! A server that gives every request the same answer. It looks for the blank line that ends a head and at nothing else,
//! so that it is never the limit.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use memchr::memmem;

use crate::Result;
use crate::args::Args;
use crate::epoll::Epoll;

const LISTENER: usize = usize::MAX;
/// Requests that can be answered at once.
const PIPELINE: usize = 64;

struct Client {
    stream: TcpStream,
    /// The last three bytes of an unfinished head: its blank line may be cut by a read.
    tail: [u8; 3],
}

pub fn run(args: &Args) -> Result<()> {
    let size: usize = args.number("size", 1024)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: load\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    );
    let answer = [head.into_bytes(), vec![b'x'; size]].concat();
    let answers = answer.repeat(PIPELINE);
    let listener = listen(args)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        for (tag, _) in epoll.wait(None)? {
            if tag == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    let slot = free.pop().unwrap_or(clients.len());
                    epoll.add(&stream, slot)?;
                    clients.resize_with(clients.len().max(slot + 1), || None);
                    clients[slot] = Some(Client { stream, tail: [0; 3] });
                }
            } else if let Some(client) = &mut clients[tag] {
                let alive = match client.requests(&mut buffer) {
                    Ok(requests) => client.stream.write_all(&answers[..answer.len() * requests]).is_ok(),
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                if !alive {
                    clients[tag] = None;
                    free.push(tag);
                }
            }
        }
    }
}

impl Client {
    /// How many heads ended in one read.
    fn requests(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer[..3].copy_from_slice(&self.tail);
        let read = self.stream.read(&mut buffer[3..])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let seen = &buffer[..3 + read];
        self.tail =
            if seen.ends_with(b"\r\n\r\n") { [0; 3] } else { seen[read..].try_into().unwrap_or_default() };
        Ok(memmem::find_iter(seen, b"\r\n\r\n").count().min(PIPELINE))
    }
}

/// With a backlog that takes a burst of connections; the standard library's is 128.
pub fn listen(args: &Args) -> Result<TcpListener> {
    let listener = TcpListener::bind(args.required("listen")?)?;
    listener.set_nonblocking(true)?;
    rustix::net::listen(&listener, 4096)?;
    Ok(listener)
}
