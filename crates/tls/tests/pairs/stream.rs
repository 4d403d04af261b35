//! Bytes over an agreed connection: ends, splits, backpressure.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use sidering_net::{Stream, TcpStream, deadline};
use sidering_tls::{Failure, TlsStream, accept, connect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::pair::{agreed, both, each_pair, soon};

/// Lets the test write below the TLS stream, also after its shutdown.
#[derive(Clone)]
struct Shared(Rc<RefCell<DuplexStream>>);

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Shared {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
    fn reset(&mut self) {
        *self.0.borrow_mut() = tokio::io::duplex(1).0;
    }
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

async fn send<S: Stream>(stream: &mut TlsStream<S>, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn receive<S: Stream>(stream: &mut TlsStream<S>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn pipes_of_any_size_carry_everything_both_ways() {
    each_pair(async |mut pair| {
        for (pipe, count) in
            [(1, 3000), (2, 3000), (5, 20_000), (1000, 100_000), (16 * 1024, 500_000), (65_536, 2_000_000)]
        {
            pair.pipe = pipe;
            let ((mut left, _), (mut right, _)) = agreed(pair.shake().await);
            let (up, down) = (pattern(count), pattern(count + 1));
            let (_, got_up) = both(send(&mut left, &up), receive(&mut right)).await;
            // The client has said its last word; the server has not.
            let (_, got_down) = both(send(&mut right, &down), receive(&mut left)).await;
            assert!(got_up == up && got_down == down, "pipe of {pipe}");
        }
    });
}

#[test]
fn both_directions_at_once() {
    each_pair(async |mut pair| {
        pair.pipe = 4096;
        let ((left, _), (right, _)) = agreed(pair.shake().await);
        let bytes = pattern(600_000);
        let (mut left, mut right) = (tokio::io::split(left), tokio::io::split(right));
        let copy = async |reader: &mut tokio::io::ReadHalf<_>, writer: &mut tokio::io::WriteHalf<_>| {
            let mut got = Vec::new();
            both(
                async {
                    writer.write_all(&bytes).await.unwrap();
                    writer.shutdown().await.unwrap();
                },
                async { reader.read_to_end(&mut got).await.unwrap() },
            )
            .await;
            got
        };
        let (one, other) = both(copy(&mut left.0, &mut left.1), copy(&mut right.0, &mut right.1)).await;
        assert!(one == bytes && other == bytes);
    });
}

#[test]
fn an_end_without_close_notify_is_no_end() {
    each_pair(async |pair| {
        let ((mut left, _), (mut right, _)) = agreed(pair.shake().await);
        left.write_all(b"whole").await.unwrap();
        left.flush().await.unwrap();
        drop(left);
        let mut got = [0; 5];
        right.read_exact(&mut got).await.unwrap();
        let error = right.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let inner = error.into_inner().expect("a TLS failure");
        assert!(matches!(inner.downcast_ref(), Some(Failure::Truncated)), "{inner:?}");
    });
}

#[test]
fn a_reset_goes_through_and_says_no_good_bye() {
    each_pair(async |pair| {
        let (left, right) = tokio::io::duplex(64 * 1024);
        let (client, server) = (pair.client(), pair.server());
        let sides = both(
            connect(Shared(Rc::new(RefCell::new(left))), &client, None, soon()),
            accept(Shared(Rc::new(RefCell::new(right))), &server, &[], soon()),
        );
        let ((mut left, _), (mut right, _)) = agreed(sides.await);
        left.reset();
        let error = deadline(soon(), right.read_u8()).await.expect("it went through").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn after_close_notify_there_is_nothing_whatever_comes() {
    each_pair(async |pair| {
        let (left, right) = tokio::io::duplex(256 * 1024);
        let below = Shared(Rc::new(RefCell::new(left)));
        let (client, server) = (pair.client(), pair.server());
        let sides = both(
            connect(below.clone(), &client, None, soon()),
            accept(Shared(Rc::new(RefCell::new(right))), &server, &[], soon()),
        );
        let ((mut left, _), (mut right, _)) = agreed(sides.await);
        left.write_all(b"last words").await.unwrap();
        left.shutdown().await.unwrap();
        below.clone().write_all(&[23, 3, 3, 0, 4, 1, 2, 3, 4].repeat(1000)).await.unwrap();
        assert_eq!(receive(&mut right).await, b"last words");
        assert!(right.write_all(b"still writable").await.is_ok());
    });
}

#[test]
fn nothing_is_written_after_shutdown() {
    each_pair(async |pair| {
        let ((mut left, _), _right) = agreed(pair.shake().await);
        left.shutdown().await.unwrap();
        assert_eq!(left.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn slices_become_one_record() {
    each_pair(async |pair| {
        let (left, right) = tokio::io::duplex(256 * 1024);
        let below = Shared(Rc::new(RefCell::new(right)));
        let (client, server) = (pair.client(), pair.server());
        let sides = both(
            connect(Shared(Rc::new(RefCell::new(left))), &client, None, soon()),
            accept(below.clone(), &server, &[], soon()),
        );
        let ((mut left, _), _right) = agreed(sides.await);
        assert!(left.is_write_vectored());
        let slices = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b"body")];
        assert_eq!(left.write_vectored(&slices).await.unwrap(), 8);
        left.flush().await.unwrap();
        let (mut below, mut wire) = (below, vec![0; 1024]);
        let count = below.read(&mut wire).await.unwrap();
        let record = 5 + 8 + 1 + 16;
        assert_eq!(count, record, "header, both slices, content type, tag");
    });
}

#[test]
fn a_peer_that_never_reads_holds_up_the_writer() {
    each_pair(async |mut pair| {
        pair.pipe = 1024;
        let ((mut left, _), (mut right, _)) = agreed(pair.shake().await);
        let chunk = pattern(100_000);
        let taken = left.write(&chunk).await.unwrap();
        assert!(taken <= 64 * 1024, "one write is owed at most");
        let second = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut left).poll_write(cx, &chunk))).await;
        assert!(second.is_pending());
        let flushed = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut left).poll_flush(cx))).await;
        assert!(flushed.is_pending());
        let mut got = vec![0; taken];
        both(async { left.flush().await.unwrap() }, async { right.read_exact(&mut got).await.unwrap() })
            .await;
        assert!(got == chunk[..taken]);
    });
}

#[test]
fn a_changed_byte_ends_the_connection_with_an_alert() {
    each_pair(async |pair| {
        let (left, right) = tokio::io::duplex(256 * 1024);
        let below = Shared(Rc::new(RefCell::new(left)));
        let (client, server) = (pair.client(), pair.server());
        let sides = both(
            connect(below.clone(), &client, None, soon()),
            accept(Shared(Rc::new(RefCell::new(right))), &server, &[], soon()),
        );
        let ((mut left, _), (mut right, _)) = agreed(sides.await);
        let mut below = below;
        below.write_all(&[&[23, 3, 3, 0, 32][..], &[9; 32]].concat()).await.unwrap();
        let error = right.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        let error = left.read_u8().await.unwrap_err();
        let inner = error.into_inner().expect("a TLS failure");
        assert!(
            matches!(inner.downcast_ref(), Some(Failure::PeerAlert(alert)) if alert.0 == 20),
            "{inner:?}"
        );
    });
}
