//! Bytes that are received before their reader runs. A turn of the set receives for all whom it wakes, one after the
//! other, so that the kernel's code for it is in the processor's caches all but the first time. Only for those to whom
//! little comes at once: much is better received, or spliced, by the reader itself.

use std::io;
use std::os::fd::RawFd;

use tokio::io::ReadBuf;

use crate::sys::socket;

/// From how many bytes on it is much.
pub(crate) const MUCH: usize = 4096;

/// What the turn may receive, and has received, for a reader.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Open as long as it is in the set.
    fd: RawFd,
    /// Little came the last time. False for what was never received from, such as listeners.
    little: bool,
    received: Option<io::Result<Box<[u8]>>>,
}

impl Ahead {
    pub(crate) fn of(fd: RawFd) -> Self {
        Self { fd, ..Self::default() }
    }

    /// Whether the turn is to receive for the reader, should it wait.
    pub(crate) fn is_wanted(&self) -> bool {
        self.little && self.received.is_none()
    }

    /// The reader has received so many bytes itself.
    pub(crate) fn note(&mut self, length: usize) {
        self.little = length < MUCH;
    }

    /// Whether there is something for the reader, be it an error.
    pub(crate) fn has_received(&self) -> bool {
        self.received.is_some()
    }

    /// Receives for the reader, who waits. True if less came than there was room for.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> bool {
        match socket::recv_open(self.fd, buffer) {
            // The end stays there to be found.
            Ok(0) => false,
            Ok(length) => {
                self.received = Some(Ok(buffer[..length].into()));
                length < buffer.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => {
                self.received = Some(Err(error));
                false
            }
        }
    }

    /// What was received, if anything; what `buf` has no room for stays.
    pub(crate) fn take(&mut self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let received = self.received.take()?;
        Some(received.map(|bytes| {
            let (taken, left) = bytes.split_at(bytes.len().min(buf.remaining()));
            buf.put_slice(taken);
            if !left.is_empty() {
                self.received = Some(Ok(left.into()));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use socket2::SockRef;
    use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

    use super::*;
    use crate::core::Core;
    use crate::runtime::Direction;
    use crate::set::{Registered, TOGETHER};
    use crate::sys::pipe::Pipe;
    use crate::{Driver, TcpStream, block_on};

    /// A connection on which the letter `a` was read and whose reader waits for more, its other end, and a second
    /// descriptor of the first.
    async fn waiting() -> (TcpStream, std::net::TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let kernel = socket.try_clone().unwrap();
        let mut stream = TcpStream::accepted(socket.into(), address).unwrap();
        std::io::Write::write_all(&mut &peer, b"a").unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        assert!(try_read(&mut stream, &mut [0; 1]).is_pending());
        (stream, peer, kernel)
    }

    fn try_read(stream: &mut TcpStream, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let (cx, mut buf) = (&mut Context::from_waker(Waker::noop()), ReadBuf::new(room));
        Pin::new(stream).poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
    }

    /// Ends when the turn has received for `stream`.
    async fn received(stream: &TcpStream) {
        poll_fn(|cx| stream.poll_readable(cx)).await;
    }

    #[test]
    fn the_turn_receives_before_the_reader_runs_and_what_is_not_taken_stays() {
        block_on(Driver::Epoll, async {
            let (mut stream, peer, kernel) = waiting().await;
            std::io::Write::write_all(&mut &peer, b"bcd").unwrap();
            received(&stream).await;
            let left = kernel.peek(&mut [0]).unwrap_err();
            assert_eq!(left.kind(), io::ErrorKind::WouldBlock, "the kernel has nothing left");
            let pipe = Pipe::new(MUCH).unwrap();
            let spliced = stream.splice_into(&pipe, MUCH).unwrap_err();
            assert_eq!(spliced.kind(), io::ErrorKind::WouldBlock, "what was received comes first");
            assert_eq!(stream.read_u8().await.unwrap(), b'b');
            drop(peer);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"cd");
        })
        .unwrap();
    }

    #[test]
    fn a_reset_that_the_turn_received_is_told_once() {
        block_on(Driver::Epoll, async {
            let (mut stream, peer, _) = waiting().await;
            SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(peer);
            received(&stream).await;
            assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        })
        .unwrap();
    }

    #[test]
    fn what_is_behind_urgent_data_is_found_whoever_receives() {
        block_on(Driver::Epoll, async {
            let (mut stream, peer, _kernel) = waiting().await;
            let mut room = [0; 2 * MUCH];
            // The turn receives up to the mark; after much the reader does.
            for before in [2, 2 * MUCH, 2] {
                std::io::Write::write_all(&mut &peer, &vec![b'b'; before]).unwrap();
                received(&stream).await;
                while try_read(&mut stream, &mut room).is_ready() {}
                std::io::Write::write_all(&mut &peer, b"cd").unwrap();
                SockRef::from(&peer).send_out_of_band(b"!").unwrap();
                std::io::Write::write_all(&mut &peer, b"ef").unwrap();
                received(&stream).await;
                let mut got = Vec::new();
                while let Poll::Ready(read) = try_read(&mut stream, &mut room) {
                    got.extend_from_slice(&room[..read.unwrap()]);
                }
                assert_eq!(String::from_utf8_lossy(&got), "cdef", "after {before} bytes");
            }
        })
        .unwrap();
    }

    #[test]
    fn a_turn_receives_for_a_limited_number() {
        block_on(Driver::Epoll, async {
            let mut pairs = Vec::new();
            for _ in 0..TOGETHER + 8 {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let ours = Registered::new(ours.into(), &[]).unwrap();
                ours.ahead(|ahead| ahead.note(1));
                assert!(
                    ours.poll_ready(Direction::Read, &mut Context::from_waker(Waker::noop())).is_pending()
                );
                std::io::Write::write_all(&mut theirs, b"x").unwrap();
                pairs.push((ours, theirs));
            }
            Core::current().set.turn();
            let received = |(ours, _): &&(Registered, UnixStream)| ours.ahead(|ahead| ahead.has_received());
            assert_eq!(pairs.iter().filter(received).count(), TOGETHER);
            for (ours, _) in &pairs {
                assert!(ours.poll_ready(Direction::Read, &mut Context::from_waker(Waker::noop())).is_ready());
            }
        })
        .unwrap();
    }

    #[test]
    fn a_socket_that_somebody_made_blocking_does_not_block() {
        const LONG: Duration = Duration::from_secs(20);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(LONG)).unwrap();
        let started = Instant::now();
        let mut ahead = Ahead::of(ours.as_raw_fd());
        assert!(ahead.receive(&mut [0; 8]) && !ahead.has_received());
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn much_is_left_to_the_reader() {
        block_on(Driver::Epoll, async {
            let (mut stream, peer, kernel) = waiting().await;
            let much = [7; 3 * MUCH];
            std::io::Write::write_all(&mut &peer, &much).unwrap();
            received(&stream).await;
            let mut room = [0; 3 * MUCH];
            assert!(matches!(try_read(&mut stream, &mut room), Poll::Ready(Ok(MUCH))));
            assert!(matches!(try_read(&mut stream, &mut room), Poll::Ready(Ok(read)) if read == 2 * MUCH));
            assert!(try_read(&mut stream, &mut room).is_pending());
            std::io::Write::write_all(&mut &peer, b"x").unwrap();
            received(&stream).await;
            assert_eq!(kernel.peek(&mut [0]).unwrap(), 1);
            assert!(matches!(try_read(&mut stream, &mut room), Poll::Ready(Ok(1))));
        })
        .unwrap();
    }
}
