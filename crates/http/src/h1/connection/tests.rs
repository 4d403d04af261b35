//! What a connection holds while nothing happens on it, and what it tells when its stream fails.

use std::future::poll_fn;
use std::task::Waker;

use sidering_net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite};

use sidering_net::{Driver, block_on};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::{Drain, ResponseHead};

#[test]
fn an_idle_connection_holds_no_buffer() {
    block_on(Driver::Epoll, async {
        let (io, mut client) = duplex(1 << 20);
        let shared = Connection::shared(io, &Limits::default());
        let body = "x".repeat(50_000);
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        client.write_all(request.as_bytes()).await.unwrap();

        let cx = &mut Context::from_waker(Waker::noop());
        let drain = Drain::new();
        {
            let mut connection = shared.borrow_mut();
            assert!(connection.poll_request(&drain, cx).is_ready());
            while !connection.is_ended() {
                assert!(connection.poll_data(cx).is_ready());
            }
            connection.respond_full(&ResponseHead::new(200), body.as_bytes(), false);
        }
        poll_fn(|cx| shared.borrow_mut().poll_flush(cx)).await.unwrap();
        let mut connection = shared.borrow_mut();
        assert!(connection.poll_request(&drain, cx).is_pending());
        assert_eq!((connection.input.capacity(), connection.output.capacity()), (0, 0));
    })
    .unwrap();
}

/// Takes nothing, for a reason of its own.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::Error::other("alert: unknown ca")))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Broken {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

#[test]
fn the_reason_of_a_layer_below_is_passed_on() {
    let shared = Connection::shared(Broken, &Limits::default());
    let mut connection = shared.borrow_mut();
    connection.respond_full(&ResponseHead::new(200), b"", false);
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Err(failure)) = connection.poll_flush(cx) else { panic!("it cannot be written") };
    assert_eq!(failure.to_string(), "stream failed: alert: unknown ca");
    assert!(matches!(connection.poll_flush(cx), Poll::Ready(Err(Failure::Io(_)))), "and it stays so");
}
