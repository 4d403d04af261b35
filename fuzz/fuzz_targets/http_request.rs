//! HTTP/1 requests: no panic, and the same requests are seen wherever the bytes are split. The first byte says where.
#![no_main]

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sidering_http::{
    Body, Done, Drain, Handler, Limits, Malformed, RequestHead, Responder, ResponseHead, serve,
};
use sidering_net::{Driver, Stream, TcpStream, block_on};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives its bytes in pieces, then the end; takes everything.
struct Pieces {
    left: Vec<u8>,
    size: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.size.min(self.left.len()).min(out.remaining());
        out.put_slice(&self.left[..size]);
        self.left.drain(..size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Pieces {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// Writes down what it was asked.
#[derive(Default)]
struct Log(RefCell<Vec<String>>);

impl<S: Stream> Handler<S> for Log {
    async fn handle(&self, head: RequestHead, mut body: Body<S>, responder: Responder<S>) -> Done {
        self.0.borrow_mut().push(format!("{head:?}"));
        let mut all = Vec::new();
        while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
            match data {
                Ok(data) => all.extend_from_slice(&data),
                Err(_) => {
                    self.0.borrow_mut().push("failed".into());
                    return responder.close();
                }
            }
        }
        self.0.borrow_mut().push(format!("{all:?} {:?}", body.trailers()));
        responder.respond_full(&ResponseHead::new(204), b"")
    }

    /// Which of two mistakes is seen first may depend on the pieces; that it is refused may not.
    async fn malformed(&self, _: Malformed, responder: Responder<S>) -> Done {
        self.0.borrow_mut().push("malformed".into());
        responder.close()
    }
}

fn seen(bytes: &[u8], size: usize) -> Vec<String> {
    let never = Duration::MAX;
    let limits = Limits { head: never, idle: never, body: never, linger: never, ..Limits::default() };
    let (log, drain) = (Log::default(), Drain::new());
    // The stream is always ready: this ends, well or badly, or waits for nothing, which libFuzzer's timeout names.
    let served = block_on(Driver::Epoll, serve(Pieces { left: bytes.to_vec(), size }, &log, &limits, &drain));
    let _ = served.expect("epoll is everywhere");
    log.0.into_inner()
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((size, bytes)) = bytes.split_first() {
        assert_eq!(seen(bytes, usize::MAX), seen(bytes, usize::from(*size).max(1)));
    }
});
