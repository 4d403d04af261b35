//! The least a proxy of TCP has to do: one thread, level-triggered epoll, no check of anything. `--mode copy` reads and
//! writes, `--mode splice` moves pages through a pipe.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::Result;
use crate::args::Args;
use crate::backend::listen;
use crate::epoll::{Epoll, EventFlags};

const LISTENER: usize = usize::MAX;
const PIPE: usize = 1 << 20;

/// Streams `2n` and `2n + 1` are the two ends of one connection.
struct End {
    stream: TcpStream,
    /// What was read from `stream` and waits for the other end to take it.
    pending: Pending,
}

enum Pending {
    Copied(Vec<u8>),
    Piped { reader: OwnedFd, writer: OwnedFd, length: usize },
}

pub fn run(args: &Args) -> Result<()> {
    let (listener, to) = (listen(args)?, args.required("to")?);
    let splice = match args.required("mode")? {
        "copy" => false,
        "splice" => true,
        other => return Err(format!("--mode {other}: copy or splice").into()),
    };
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER)?;
    let mut ends: Vec<Option<End>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        for (tag, flags) in epoll.wait(None)? {
            if tag == LISTENER {
                while let Ok((downstream, _)) = listener.accept() {
                    let Ok(upstream) = TcpStream::connect(to) else { continue };
                    let first = free.pop().unwrap_or(ends.len());
                    ends.resize_with(ends.len().max(first + 2), || None);
                    for (slot, stream) in [(first, downstream), (first + 1, upstream)] {
                        epoll.add(&stream, slot)?;
                        ends[slot] = Some(End::new(stream, splice)?);
                    }
                }
                continue;
            }
            let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            let readable = flags.contains(EventFlags::IN).then_some(tag);
            let writable = flags.contains(EventFlags::OUT).then_some(tag ^ 1);
            let ended = [readable, writable]
                .into_iter()
                .flatten()
                .any(|from| relay(&mut ends, from, &epoll, &mut buffer).is_err());
            if (broken || ended) && ends[tag].is_some() {
                ends[tag & !1] = None;
                ends[tag | 1] = None;
                free.push(tag & !1);
            }
        }
    }
}

/// Moves what `from` has to its other end; an error once the connection has ended.
fn relay(ends: &mut [Option<End>], from: usize, epoll: &Epoll, buffer: &mut [u8]) -> Result<()> {
    let Ok([Some(low), Some(high)]) = ends.get_disjoint_mut([from & !1, from | 1]) else { return Ok(()) };
    let (source, sink) = if from & 1 == 0 { (low, high) } else { (high, low) };
    let waited = source.waits();
    source.step(&sink.stream, buffer)?;
    if waited != source.waits() {
        // Its reader pauses while a writer is behind.
        for (end, other, tag) in [(&*source, &*sink, from), (&*sink, &*source, from ^ 1)] {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, !end.waits());
            flags.set(EventFlags::OUT, other.waits());
            epoll.modify(&end.stream, tag, flags)?;
        }
    }
    Ok(())
}

impl End {
    fn new(stream: TcpStream, splice: bool) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let pending = if splice {
            let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK)?;
            rustix::pipe::fcntl_setpipe_size(&writer, PIPE)?;
            Pending::Piped { reader, writer, length: 0 }
        } else {
            Pending::Copied(Vec::new())
        };
        Ok(Self { stream, pending })
    }

    fn waits(&self) -> bool {
        match &self.pending {
            Pending::Copied(bytes) => !bytes.is_empty(),
            Pending::Piped { length, .. } => *length > 0,
        }
    }

    /// One read and one write; only a write while something waits.
    fn step(&mut self, mut to: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
        match &mut self.pending {
            Pending::Copied(bytes) if !bytes.is_empty() => {
                let written = ready(to.write(bytes))?;
                bytes.drain(..written);
            }
            Pending::Copied(bytes) => {
                let Some(read) = some(self.stream.read(buffer))? else { return Ok(()) };
                let written = ready(to.write(&buffer[..read]))?;
                bytes.extend_from_slice(&buffer[written..read]);
            }
            Pending::Piped { reader, writer, length } => {
                let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                if *length == 0 {
                    let read = rustix::pipe::splice(&self.stream, None, &*writer, None, PIPE, flags);
                    let Some(read) = some(read.map_err(io::Error::from))? else { return Ok(()) };
                    *length = read;
                }
                let written = rustix::pipe::splice(&*reader, None, to, None, *length, flags);
                *length -= ready(written.map_err(io::Error::from))?;
            }
        }
        Ok(())
    }
}

/// Nothing is moved by a call that would block.
fn ready(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// A read of nothing is the end; `None` if it would block.
fn some(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
