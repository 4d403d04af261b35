//! What a connection holds while nothing happens on it.

use std::task::Waker;

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
        let mut connection = shared.borrow_mut();
        let drain = Drain::new();
        assert!(connection.poll_request(&drain, cx).is_ready());
        while !connection.is_ended() {
            assert!(connection.poll_data(cx).is_ready());
        }
        connection.respond_full(&ResponseHead::new(200), body.as_bytes(), false);
        assert!(connection.poll_flush(cx).is_ready());
        assert!(connection.poll_request(&drain, cx).is_pending());
        assert_eq!((connection.input.capacity(), connection.output.capacity()), (0, 0));
    })
    .unwrap();
}
