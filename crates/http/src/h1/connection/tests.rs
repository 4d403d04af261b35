//! What a connection holds while nothing happens on it, and what it tells when its stream fails.

use std::future::poll_fn;
use std::task::Waker;

use sidering_net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite};

use sidering_net::{Driver, block_on, yield_now};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::h1::Next;
use crate::{Drain, Outcome, ResponseHead};

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
        assert!(shared.borrow_mut().poll_request(&drain, cx).is_pending());
        let held = || (shared.borrow().input.capacity(), shared.borrow().output.capacity());
        assert_eq!(held(), (0, 0));

        // What is little leaves later.
        shared.borrow_mut().respond_full(&ResponseHead::new(200), b"little", false);
        assert!(shared.borrow_mut().poll_flush(cx).is_ready());
        assert!(shared.borrow_mut().poll_request(&drain, cx).is_pending());
        assert_ne!(held(), (0, 0));
        yield_now().await;
        assert_eq!(held(), (0, 0));
    })
    .unwrap();
}

#[test]
fn a_response_that_cannot_leave_later_ends_the_connection_and_is_told() {
    block_on(Driver::Epoll, async {
        let shared = Connection::shared(Broken, &Limits::default());
        let drain = Drain::new();
        shared.borrow_mut().respond_full(&ResponseHead::new(200), b"", false);
        let mut flushed = false;
        let next = poll_fn(|cx| {
            let mut connection = shared.borrow_mut();
            flushed = flushed || connection.poll_flush(cx).is_ready();
            connection.poll_request(&drain, cx)
        });
        assert!(matches!(next.await, Ok(Next::End(Outcome::Undelivered))));
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
