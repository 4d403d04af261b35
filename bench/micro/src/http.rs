//! Heads: a request read and its response written, and the other way round, on streams in memory.

use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sidering_http::{
    Body, Client, Done, Drain, Handler, HeaderName, Headers, Length, Limits, Malformed, Method, RequestHead,
    Responder, ResponseHead, Version, serve, strip_hop_by_hop,
};
use sidering_net::{Driver, Stream, TcpStream, block_on};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Result;

const REQUEST: &[u8] =
    b"GET /items/7?full=1 HTTP/1.1\r\nHost: orders.shop.svc.cluster.local\r\nUser-Agent: curl/8\r\n\
    Accept: */*\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\nX-Request-Id: 6a1f\r\n\
    x-tenant: blue\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: micro\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: text/plain\r\nCache-Control: no-cache\r\nContent-Length: 5\r\n\r\nhello";

/// Reads `count` requests, strips what is of one hop, and answers.
pub fn server(count: usize) -> Result {
    let (limits, drain) = (patient(), Drain::new());
    let stream = Repeated { message: REQUEST, left: count, offset: 0, asked: count, reader: None };
    block_on(Driver::Epoll, serve(stream, &Answering, &limits, &drain))??;
    Ok(())
}

/// Sends `count` requests, and reads the responses with their bodies.
pub fn client(count: usize) -> Result {
    let mut headers = Headers::new();
    for (name, value) in
        [("user-agent", "curl/8"), ("accept", "*/*"), ("x-tenant", "blue"), ("cookie", "session=01")]
    {
        headers.append(&HeaderName::parse(name).map_err(|_| "a header name")?, value);
    }
    let head = RequestHead {
        method: Method::GET,
        target: "/items/7?full=1".into(),
        authority: Some("orders.shop.svc.cluster.local".into()),
        scheme: None,
        version: Version::Http11,
        headers,
        websocket: false,
    };
    // A response for each request, and none before it: the client refuses what nobody asked for.
    let stream = Repeated { message: RESPONSE, left: count, offset: 0, asked: 0, reader: None };
    let exchanges = async {
        let mut client = Client::http1(stream, &patient());
        for _ in 0..count {
            let mut exchange = client.start(black_box(&head), Length::Empty);
            poll_fn(|cx| exchange.upload.poll_finish(cx, &Headers::new())).await?;
            black_box(poll_fn(|cx| exchange.poll_head(cx)).await?);
            while let Some(data) = poll_fn(|cx| exchange.body.poll_data(cx)).await {
                black_box(data?);
            }
            client = exchange.finish().ok_or("the connection stays usable")?;
        }
        Ok(())
    };
    block_on(Driver::Epoll, exchanges)?
}

fn patient() -> Limits {
    let never = Duration::MAX;
    Limits { head: never, idle: never, body: never, linger: never, ..Limits::default() }
}

struct Answering;

impl<S: Stream> Handler<S> for Answering {
    async fn handle(&self, mut head: RequestHead, _: Body<S>, responder: Responder<S>) -> Done {
        strip_hop_by_hop(&mut head.headers);
        black_box(head);
        responder.respond_full(&ResponseHead::new(200), b"hello")
    }

    async fn malformed(&self, _: Malformed, responder: Responder<S>) -> Done {
        responder.close()
    }
}

/// Gives one message per read, as often as it was `asked`, then the end. A write asks.
struct Repeated {
    message: &'static [u8],
    left: usize,
    offset: usize,
    asked: usize,
    /// Waits until more is asked for.
    reader: Option<Waker>,
}

impl AsyncRead for Repeated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.asked == 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let message = &self.message[self.offset..];
        let size = message.len().min(out.remaining());
        out.put_slice(&message[..size]);
        self.offset += size;
        if self.offset == self.message.len() {
            self.offset = 0;
            self.left -= 1;
            self.asked -= 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Repeated {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = (self.asked + 1).min(self.left);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Repeated {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}
