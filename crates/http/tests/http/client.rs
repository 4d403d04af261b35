//! `Client` and `Exchange`: what is sent, what is taken for a response, and whether the connection can be used again.

use std::future::poll_fn;

use bytes::Bytes;
use proptest::prelude::*;
use sidering_http::{
    Client, Exchange, Failure, HeaderName, Headers, Length, Limits, Malformed, Method, Progress, RequestHead,
    ResponseHead,
};
use sidering_net::yield_now;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::support::{NO_BODY, Script, Step, cut_at, get, post, run, whole};

async fn head<S: sidering_net::Stream>(exchange: &mut Exchange<S>) -> Result<ResponseHead, Failure> {
    poll_fn(|cx| exchange.poll_head(cx)).await
}

async fn finish<S: sidering_net::Stream>(exchange: &mut Exchange<S>) -> Result<(), Failure> {
    poll_fn(|cx| exchange.upload.poll_finish(cx, &Headers::new())).await
}

/// The whole exchange of a bodiless request: status, body, and whether the connection can be used again.
async fn fetch(script: Script, request: &RequestHead) -> Result<(u16, String, bool), Failure> {
    let mut exchange = Client::http1(script, &Limits::default()).start(request, NO_BODY);
    finish(&mut exchange).await?;
    let head = head(&mut exchange).await?;
    let body = whole(&mut exchange.body).await?;
    Ok((head.status, body, exchange.finish().is_some()))
}

/// `fetch` of what a server sends before it falls silent.
fn fetched(raw: &str, request: &RequestHead) -> Result<(u16, String, bool), Failure> {
    run(fetch(Script::new([Step::Asked, Step::Bytes(raw.into()), Step::Stall]).0, request))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_responses_end_in_order(raw in any::<Vec<u8>>()) {
        for head in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"] {
            let (script, _) = Script::answering(&[head.as_bytes(), &raw].concat());
            let _ = run(fetch(script, &get()));
        }
    }
}

#[test]
fn a_connection_serves_one_exchange_after_the_other() {
    run(async {
        let responses = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\n";
        let rest = "Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\nX-Sum: 1\r\n\r\n";
        // The second response is not there before it is asked for.
        let (first, second) = responses.split_at(responses.find("oneH").unwrap() + 3);
        let (script, seen) = Script::new([
            Step::Asked,
            Step::Bytes(first.into()),
            Step::Asked,
            Step::Bytes(format!("{second}{rest}").into()),
            Step::Stall,
        ]);
        let mut request = post();
        request.headers.append(&HeaderName::from_static("X-Case"), "v");
        request.headers.append(&HeaderName::from_static("Connection"), "x");
        request.headers.append(&HeaderName::from_static("content-length"), "99");
        let mut exchange = Client::http1(script, &Limits::default()).start(&request, Length::Exact(2));
        exchange.upload.write(Bytes::from_static(b"hi"));
        finish(&mut exchange).await.unwrap();
        assert_eq!(seen.writes.get(), 0, "little leaves with that of others");
        assert!(!exchange.upload.is_finished());
        yield_now().await;
        assert!(exchange.upload.is_finished());
        let sent = "POST / HTTP/1.1\r\nhost: a\r\nX-Case: v\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!((seen.text().as_str(), seen.writes.get()), (sent, 1));
        assert_eq!(head(&mut exchange).await.unwrap().status, 200);
        assert_eq!(exchange.body.length(), Length::Exact(3));
        assert_eq!(whole(&mut exchange.body).await.unwrap(), "one");
        assert_eq!(exchange.progress(), Progress { sent: sent.len() as u64, received: first.len() as u64 });

        let mut client = exchange.finish().unwrap();
        assert!(client.is_reusable());
        let mut exchange = client.start(&post(), Length::Unknown);
        exchange.upload.write(Bytes::from_static(b"hello"));
        finish(&mut exchange).await.unwrap();
        yield_now().await;
        let again = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(seen.text(), format!("{sent}{again}"));
        assert_eq!(head(&mut exchange).await.unwrap().status, 200);
        assert_eq!(exchange.body.length(), Length::Unknown);
        assert_eq!(whole(&mut exchange.body).await.unwrap(), "two");
        assert_eq!(exchange.body.trailers().get("x-sum"), Some(&b"1"[..]));
        assert!(exchange.finish().is_some());
    });
}

#[test]
fn it_makes_no_difference_where_a_response_is_cut() {
    let raw = "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
               3;e\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n";
    for cut in 1..raw.len() {
        run(async {
            let (script, _) = Script::new([Step::Asked].into_iter().chain(cut_at(raw.as_bytes(), cut)));
            let mut exchange = Client::http1(script.taking(3), &Limits::default()).start(&get(), NO_BODY);
            assert_eq!(head(&mut exchange).await.unwrap().status, 103);
            assert_eq!(head(&mut exchange).await.unwrap().status, 200);
            assert_eq!(whole(&mut exchange.body).await.unwrap(), "abcde", "at {cut}");
            finish(&mut exchange).await.unwrap();
            assert!(exchange.finish().is_some());
        });
    }
}

#[test]
fn when_a_connection_can_be_used_again() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
    for (raw, reusable) in [
        (format!("{ok}\r\nhi"), true),
        (format!("{ok}Connection: close\r\n\r\nhi"), false),
        (format!("{ok}\r\nhi!"), false),
        (format!("{ok}\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".into(), false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi".into(), true),
    ] {
        assert_eq!(fetched(&raw, &get()).unwrap(), (200, "hi".into(), reusable), "{raw:?}");
    }
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let to_head = RequestHead { method: Method::HEAD, ..get() };
    for (raw, request, status, reusable) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", &to_head, 200, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &to_head, 200, true),
        ("HTTP/1.1 204 No Content\r\n\r\n", &get(), 204, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", &get(), 304, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi", &get(), 204, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", &to_head, 200, false),
        ("HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", &get(), 304, false),
    ] {
        assert_eq!(fetched(raw, request).unwrap(), (status, String::new(), reusable), "{raw:?}");
    }
}

#[test]
fn a_body_without_framing_ends_with_the_connection() {
    let (script, _) = Script::answering(b"HTTP/1.1 200 OK\r\n\r\nto the end");
    assert_eq!(run(fetch(script, &get())).unwrap(), (200, "to the end".into(), false));
}

#[test]
fn what_is_no_response_is_a_failure() {
    for (raw, why) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Malformed::ContentLength),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Malformed::LengthAndEncoding,
        ),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Malformed::FoldedLine),
        ("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Malformed::Informational),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Malformed::Chunk),
        ("SSH-2.0-OpenSSH\r\n\r\n", Malformed::StartLine),
    ] {
        let failure = fetched(raw, &get()).unwrap_err();
        assert!(matches!(failure, Failure::Malformed(is) if is == why), "{raw:?}: {failure:?}");
    }
}

#[test]
fn a_flood_of_informational_responses_is_cut_off() {
    run(async {
        let (script, _) = Script::answering("HTTP/1.1 102 Processing\r\n\r\n".repeat(100).as_bytes());
        let mut exchange = Client::http1(script, &Limits::default()).start(&get(), NO_BODY);
        for _ in 0..16 {
            assert_eq!(head(&mut exchange).await.unwrap().status, 102);
        }
        let failure = head(&mut exchange).await.unwrap_err();
        assert!(matches!(failure, Failure::Malformed(Malformed::Informational)), "{failure:?}");
        assert!(exchange.finish().is_none());
    });
}

#[test]
fn a_server_that_breaks_off_is_told_from_one_that_ends() {
    let of = |raw: &str| run(fetch(Script::answering(raw.as_bytes()).0, &get())).unwrap_err();
    assert!(matches!(of(""), Failure::Closed));
    for raw in [
        "HTTP/1.1 200 O",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
    ] {
        let raw = raw.to_owned();
        let failure = if raw.contains("100") {
            run(async {
                let mut exchange = Client::http1(Script::answering(raw.as_bytes()).0, &Limits::default())
                    .start(&get(), NO_BODY);
                head(&mut exchange).await.unwrap();
                head(&mut exchange).await.unwrap_err()
            })
        } else {
            of(&raw)
        };
        assert!(matches!(failure, Failure::Truncated), "{raw:?}: {failure:?}");
    }
}

#[test]
fn a_connection_that_closed_while_idle_is_seen_before_it_is_used() {
    run(async {
        let response = Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
        for (next, usable) in
            [(Step::Stall, true), (Step::End, false), (Step::Bytes(b"HTTP/1.1 408".to_vec()), false)]
        {
            let (script, _) = Script::new([Step::Asked, response.clone(), next.clone()]);
            let mut exchange = Client::http1(script, &Limits::default()).start(&get(), NO_BODY);
            finish(&mut exchange).await.unwrap();
            head(&mut exchange).await.unwrap();
            let mut client = exchange.finish().unwrap();
            assert_eq!(client.is_reusable(), usable, "{next:?}");
            if !usable {
                poll_fn(|cx| client.poll_closed(cx)).await;
                let mut exchange = client.start(&get(), NO_BODY);
                assert!(matches!(head(&mut exchange).await, Err(Failure::Closed)));
                assert_eq!(exchange.progress(), Progress::default());
            }
        }
    });
}

#[test]
fn what_a_server_says_unasked_is_no_response_to_the_next_request() {
    run(async {
        let response = Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
        let (script, seen) = Script::new([Step::Asked, response.clone(), response, Step::Stall]);
        let mut exchange = Client::http1(script, &Limits::default()).start(&get(), NO_BODY);
        finish(&mut exchange).await.unwrap();
        head(&mut exchange).await.unwrap();
        let sent = seen.text();
        let mut exchange = exchange.finish().unwrap().start(&get(), NO_BODY);
        assert!(matches!(head(&mut exchange).await, Err(Failure::Closed)));
        assert_eq!(seen.text(), sent, "and the request was not sent");
    });
}

#[test]
fn a_connection_that_closed_too_late_to_be_seen_says_how_far_it_came() {
    run(async {
        let (script, _) = Script::new([Step::Asked, Step::End]);
        let mut client = Client::http1(script, &Limits::default());
        assert!(client.is_reusable());
        let mut exchange = client.start(&get(), NO_BODY);
        assert_eq!(exchange.progress(), Progress::default(), "a retry is safe so far");
        finish(&mut exchange).await.unwrap();
        assert!(matches!(head(&mut exchange).await, Err(Failure::Closed)));
        assert_eq!(exchange.progress(), Progress { sent: 27, received: 0 });
        assert!(exchange.finish().is_none());
    });
}

#[test]
fn an_answer_may_come_before_the_request_is_sent() {
    run(async {
        let (script, _) = Script::new([
            Step::Wait,
            Step::Bytes(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno".to_vec()),
            Step::Stall,
        ]);
        let mut exchange =
            Client::http1(script.taking(0), &Limits::default()).start(&post(), Length::Exact(1_000_000));
        exchange.upload.write(Bytes::from(vec![0; 50_000]));
        assert_eq!(head(&mut exchange).await.unwrap().status, 413);
        assert_eq!(whole(&mut exchange.body).await.unwrap(), "no");
        assert!(exchange.finish().is_none(), "the rest of the request is still owed");
    });
}

#[test]
fn an_upload_that_is_not_as_announced_spoils_the_connection() {
    run(async {
        let (script, seen) = Script::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let mut exchange = Client::http1(script, &Limits::default()).start(&post(), Length::Exact(3));
        exchange.upload.write(Bytes::from_static(b"abcd"));
        assert!(matches!(finish(&mut exchange).await, Err(Failure::BodyLength)));
        head(&mut exchange).await.unwrap();
        assert!(!seen.text().contains("abc"));
        assert!(exchange.finish().is_none());
    });
}

#[test]
fn a_granted_upgrade_is_a_bare_stream() {
    run(async {
        let (io, mut server) = duplex(1024);
        let mut request = get();
        request.websocket = true;
        let mut exchange = Client::http1(io, &Limits::default()).start(&request, NO_BODY);
        finish(&mut exchange).await.unwrap();
        let expected = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let mut sent = vec![0; expected.len()];
        server.read_exact(&mut sent).await.unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
        let answer = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst";
        server.write_all(answer).await.unwrap();
        assert_eq!(head(&mut exchange).await.unwrap().status, 101);
        let mut tunnel = exchange.upgraded();
        let mut early = [0; 5];
        tunnel.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"first");
        tunnel.write_all(b"back").await.unwrap();
        tunnel.shutdown().await.unwrap();
        let mut back = String::new();
        server.read_to_string(&mut back).await.unwrap();
        assert_eq!(back, "back");
    });
}
