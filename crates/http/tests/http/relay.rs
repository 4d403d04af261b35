//! Both directions of an exchange in one `poll_fn`, as the proxy's relay drives them.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sidering_http::{
    Body, BodyWriter, Client, Done, Drain, Failure, Handler, Limits, Malformed, RequestHead, Responder,
    ResponseHead, serve, strip_hop_by_hop,
};
use sidering_net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::support::{Echo, join, run};

/// Moves a body on: everything, then its end.
fn poll_pump<A: Stream, B: Stream, Of>(
    body: &mut Body<A>,
    writer: &mut BodyWriter<B, Of>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    loop {
        ready!(writer.poll_ready(cx))?;
        match body.poll_data(cx) {
            Poll::Ready(Some(data)) => writer.write(data?),
            Poll::Ready(None) => return writer.poll_finish(cx, &body.trailers()),
            Poll::Pending => {
                ready!(writer.poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }
}

/// Forwards each request to one upstream connection of its own.
struct Forward(std::cell::RefCell<Vec<DuplexStream>>);

impl<S: Stream> Handler<S> for Forward {
    async fn handle(&self, mut head: RequestHead, mut body: Body<S>, mut responder: Responder<S>) -> Done {
        strip_hop_by_hop(&mut head.headers);
        let upstream = self.0.borrow_mut().pop().expect("a connection for each request");
        let mut exchange = Client::http1(upstream, &Limits::default()).start(&head, body.length());
        let mut head = loop {
            let head = poll_fn(|cx| {
                // That it fails does not mean that there is no answer.
                let _ = poll_pump(&mut body, &mut exchange.upload, cx);
                exchange.poll_head(cx)
            })
            .await
            .unwrap();
            if head.status >= 200 {
                break head;
            }
            responder.informational(&head);
            poll_fn(|cx| responder.poll_flush(cx)).await.unwrap();
        };
        strip_hop_by_hop(&mut head.headers);
        let mut writer = responder.respond(&head, exchange.body.length());
        poll_fn(|cx| {
            let _ = poll_pump(&mut body, &mut exchange.upload, cx);
            poll_pump(&mut exchange.body, &mut writer, cx)
        })
        .await
        .unwrap();
        writer.done()
    }

    async fn malformed(&self, _: Malformed, responder: Responder<S>) -> Done {
        responder.respond_full(&ResponseHead::new(400), b"")
    }
}

/// What a client gets for `request` through the relay, with `origin` behind it.
fn relayed(request: Vec<u8>, origin: impl AsyncFnOnce(DuplexStream)) -> String {
    run(async {
        let (mut client, downstream) = duplex(4096);
        let (upstream, server) = duplex(4096);
        let forward = Forward(vec![upstream].into());
        let mut output = String::new();
        let (mut client_reads, mut client_writes) = tokio::io::split(&mut client);
        let client = join(
            async {
                // An answer that came early may leave the rest unsent.
                let _ = client_writes.write_all(&request).await;
            },
            async {
                client_reads.read_to_string(&mut output).await.unwrap();
            },
        );
        let (limits, drain) =
            (Limits { linger: Duration::from_millis(20), ..Limits::default() }, Drain::new());
        let serving = serve(downstream, &forward, &limits, &drain);
        let _ = join(join(serving, origin(server)), client).await;
        output
    })
}

async fn echo(server: DuplexStream) {
    serve(server, &Echo::default(), &Limits::default(), &Drain::new()).await.unwrap();
}

#[test]
fn bodies_larger_than_all_buffers_pass() {
    let body = "0123456789".repeat(50_000);
    let chunks: String = body
        .as_bytes()
        .chunks(7_777)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    for framed in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
    ] {
        let output = relayed(
            format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framed}").into_bytes(),
            echo,
        );
        let (head, echoed) = output.split_once("\r\n\r\n").unwrap();
        assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 500000\r\nconnection: close");
        assert!(echoed == body);
    }
}

#[test]
fn a_response_streams_while_the_request_does() {
    // Each side sends its next piece only after the other's last: a relay that takes turns would stand still.
    run(async {
        let (mut client, downstream) = duplex(4096);
        let (upstream, mut server) = duplex(4096);
        let forward = Forward(vec![upstream].into());
        let client = async {
            let head =
                b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.write_all(head).await.unwrap();
            until(&mut client, "\r\n\r\n").await;
            for piece in ["one", "two"] {
                client.write_all(format!("3\r\n{piece}\r\n").as_bytes()).await.unwrap();
                until(&mut client, &piece.to_uppercase()).await;
            }
            client.write_all(b"0\r\n\r\n").await.unwrap();
            until(&mut client, "0\r\n\r\n").await;
        };
        let origin = async {
            until(&mut server, "\r\n\r\n").await;
            server.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            for piece in ["one", "two"] {
                until(&mut server, piece).await;
                server.write_all(format!("3\r\n{}\r\n", piece.to_uppercase()).as_bytes()).await.unwrap();
            }
            until(&mut server, "0\r\n\r\n").await;
            server.write_all(b"0\r\n\r\n").await.unwrap();
        };
        let (limits, drain) = (Limits::default(), Drain::new());
        let serving = serve(downstream, &forward, &limits, &drain);
        let (outcome, _) = join(serving, join(client, origin)).await;
        assert_eq!(outcome.unwrap(), sidering_http::Outcome::Closed);
    });
}

/// Reads up to and with `mark`.
async fn until(stream: &mut DuplexStream, mark: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(mark.as_bytes()) {
        seen.push(stream.read_u8().await.unwrap());
    }
}

#[test]
fn an_early_answer_is_delivered_though_the_upload_is_not_done() {
    let request =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(200_000));
    let output = relayed(request.into_bytes(), async |mut server| {
        let mut some = [0; 100];
        server.read_exact(&mut some).await.unwrap();
        server.write_all(b"HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    });
    assert_eq!(output, "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno");
}

#[test]
fn expect_and_continue_pass_through() {
    run(async {
        let (mut client, downstream) = duplex(4096);
        let (upstream, mut server) = duplex(4096);
        let forward = Forward(vec![upstream].into());
        let client = async {
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
            client.write_all(head).await.unwrap();
            let mut go = [0; 25];
            client.read_exact(&mut go).await.unwrap();
            assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
            client.write_all(b"body").await.unwrap();
            let mut output = String::new();
            client.read_to_string(&mut output).await.unwrap();
            output
        };
        let origin = async {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
            let mut got = vec![0; head.len()];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), head);
            server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            let mut body = [0; 4];
            server.read_exact(&mut body).await.unwrap();
            server.write_all(b"HTTP/1.1 204 Done\r\n\r\n").await.unwrap();
        };
        let (limits, drain) = (Limits::default(), Drain::new());
        let serving = serve(downstream, &forward, &limits, &drain);
        let (_, (output, ())) = join(serving, join(client, origin)).await;
        assert_eq!(output, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    });
}

#[test]
fn names_keep_their_case_order_and_number() {
    let request = "GET /p?q HTTP/1.1\r\nX-One: 1\r\nHoSt: a:80\r\nx-two: 2\r\nX-ONE: 3\r\nConnection: close, x-hop\r\nX-Hop: 4\r\n\r\n";
    let got = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let seen = got.clone();
    let output = relayed(request.into(), async move |mut server| {
        while !seen.borrow().ends_with("\r\n\r\n") {
            let byte = server.read_u8().await.unwrap();
            seen.borrow_mut().push(char::from(byte));
        }
        let answer = b"HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nKeep-Alive: 5\r\nSET-cookie: b\r\nContent-Length: 0\r\n\r\n";
        server.write_all(answer).await.unwrap();
    });
    assert_eq!(*got.borrow(), "GET /p?q HTTP/1.1\r\nX-One: 1\r\nHoSt: a:80\r\nx-two: 2\r\nX-ONE: 3\r\n\r\n");
    assert_eq!(
        output,
        "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSET-cookie: b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
}
