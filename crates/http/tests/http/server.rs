//! `serve`: order, framing, limits, and how connections end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use proptest::prelude::*;
use sidering_http::{
    Body, Drain, Failure, HeaderName, Headers, Length, Limits, Malformed, Outcome, Phase, Responder,
    ResponseHead, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::support::{Echo, Script, Step, With, cut_at, impatient, join, run, served, whole};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_requests_end_in_order(raw in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        for raw in [raw.clone(), [&head[..], &raw].concat()] {
            let (script, _) = Script::new(cut_at(&raw, cut.index(raw.len() + 1)));
            let _ = served(script.taking(5), &Echo::default(), &Limits::default());
        }
    }
}

/// The output and the log of `Echo` for what a client sends before it closes.
fn echoed(raw: &str) -> (String, Vec<String>, Result<Outcome, Failure>) {
    let (script, seen) = Script::of(raw.as_bytes());
    let echo = Echo::default();
    let outcome = served(script, &echo, &Limits::default());
    (seen.text(), echo.log.take(), outcome)
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (output, log, outcome) = echoed(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1;x=y\r\no\r\n0\r\nT: t\r\n\r\n\
         \r\nGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(
        output,
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none\
         HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo\
         HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(log, ["POST /1 one", "POST /2 two", "GET /3 "]);
    assert_eq!(outcome.unwrap(), Outcome::Closed);
}

#[test]
fn it_makes_no_difference_where_the_stream_is_cut() {
    let raw = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
               POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n";
    let (output, log, _) = echoed(raw);
    for cut in 1..raw.len() {
        let (script, seen) = Script::new(cut_at(raw.as_bytes(), cut));
        let echo = Echo::default();
        assert_eq!(served(script.taking(7), &echo, &Limits::default()).unwrap(), Outcome::ClosedByPeer);
        assert_eq!((seen.text(), echo.log.take()), (output.clone(), log.clone()), "at {cut}");
    }
}

#[test]
fn nothing_behind_a_malformed_request_is_served() {
    let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (raw, why) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "LengthAndEncoding",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n", "ContentLength"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: x\r\nContent-Length: 38\r\n\r\n", "HeaderName"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "LineEnding"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "Connect"),
    ] {
        let (output, log, outcome) = echoed(&format!("{raw}{next}"));
        assert_eq!(
            output, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "{raw:?}"
        );
        assert_eq!(log, [why], "{raw:?}");
        assert!(matches!(outcome, Ok(Outcome::Malformed(_))), "{outcome:?}");
    }
}

#[test]
fn nothing_behind_a_malformed_body_is_served() {
    let (output, log, outcome) = echoed(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(output, "");
    assert_eq!(log, ["POST / Malformed(Chunk)"]);
    assert_eq!(outcome.unwrap(), Outcome::Malformed(Malformed::Chunk));
}

#[test]
fn a_malformed_body_may_be_answered_and_ends_the_connection() {
    let handler = With(async |_, mut body: Body<Script>, responder: Responder<Script>| {
        let failure = whole(&mut body).await.unwrap_err();
        assert!(matches!(failure, Failure::Malformed(Malformed::LineEnding)));
        responder.respond_full(&ResponseHead::new(400), b"")
    });
    let raw = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc";
    let (script, seen) = Script::of(format!("{raw}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let outcome = served(script, &handler, &Limits::default()).unwrap();
    assert_eq!(outcome, Outcome::Malformed(Malformed::LineEnding));
    assert_eq!(seen.text(), "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

#[test]
fn a_client_that_goes_away_early_is_a_truncation() {
    let (_, log, outcome) = echoed("GET / HTTP/1.1\r\nHos");
    assert!(log.is_empty());
    assert!(matches!(outcome, Err(Failure::Truncated)));
    for body in ["Content-Length: 4\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"] {
        let (output, log, outcome) = echoed(&format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!((output.as_str(), log), ("", vec!["POST / Truncated".to_owned()]));
        assert_eq!(outcome.unwrap(), Outcome::Aborted);
    }
    assert_eq!(echoed("").2.unwrap(), Outcome::ClosedByPeer);
}

#[test]
fn http10_is_closed_unless_it_asks() {
    let (output, _, outcome) = echoed(
        "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
         GET /2 HTTP/1.0\r\n\r\nGET /3 HTTP/1.0\r\n\r\n",
    );
    assert_eq!(
        output,
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(outcome.unwrap(), Outcome::Closed);
}

/// Answers with `status`, a header, a body of unknown length in two pieces, and a trailer.
async fn streamed<S: sidering_net::Stream>(status: u16, mut responder: Responder<S>) -> sidering_http::Done {
    let mut early = ResponseHead::new(103);
    early.headers.append(&HeaderName::from_static("link"), "x");
    responder.informational(&early);
    let mut head = ResponseHead::new(status);
    head.headers.append(&HeaderName::from_static("X-Case"), "v");
    head.headers.append(&HeaderName::from_static("Content-Length"), "77");
    head.headers.append(&HeaderName::from_static("Transfer-Encoding"), "chunked");
    let mut writer = responder.respond(&head, Length::Unknown);
    for piece in ["hello ", "", "world, again"] {
        poll_fn(|cx| writer.poll_ready(cx)).await.unwrap();
        writer.write(Bytes::from_static(piece.as_bytes()));
    }
    let mut trailers = Headers::new();
    trailers.append(&HeaderName::from_static("X-Sum"), "9");
    writer.finish(&trailers).await
}

fn streamed_to(request: &str, status: u16) -> (String, usize, Result<Outcome, Failure>) {
    let (script, seen) = Script::of(request.as_bytes());
    let outcome = served(script, &With(|_, _, responder| streamed(status, responder)), &Limits::default());
    (seen.text(), seen.writes.get(), outcome)
}

#[test]
fn a_body_of_unknown_length_is_chunked_in_one_write_and_framing_headers_are_not_copied() {
    let (output, writes, _) = streamed_to("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    assert_eq!(
        output,
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\nX-Case: v\r\ntransfer-encoding: chunked\r\n\r\n\
         6\r\nhello \r\nc\r\nworld, again\r\n0\r\nX-Sum: 9\r\n\r\n"
    );
    assert_eq!(writes, 1);
}

#[test]
fn to_http10_it_ends_with_the_connection_and_there_are_no_informational_responses() {
    let (output, _, outcome) = streamed_to("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200);
    assert_eq!(output, "HTTP/1.1 200 OK\r\nX-Case: v\r\nconnection: close\r\n\r\nhello world, again");
    assert_eq!(outcome.unwrap(), Outcome::Closed);
}

#[test]
fn some_responses_have_no_body_whatever_the_handler_writes() {
    for (method, status, head) in [
        ("HEAD", 200, "HTTP/1.1 200 OK\r\nX-Case: v\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", 204, "HTTP/1.1 204 No Content\r\nX-Case: v\r\n\r\n"),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\nX-Case: v\r\n\r\n"),
    ] {
        let (output, _, outcome) = streamed_to(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), status);
        assert_eq!(output.split_once("x\r\n\r\n").unwrap().1, head);
        assert_eq!(outcome.unwrap(), Outcome::ClosedByPeer, "the connection stays usable");
    }
    let (output, _, _) = echoed("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(output, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
}

#[test]
fn large_pieces_go_out_whole_and_in_order() {
    let big = "x".repeat(100_000);
    let handler = With(async |_, _, responder: Responder<Script>| {
        let mut writer = responder.respond(&ResponseHead::new(200), Length::Unknown);
        for _ in 0..2 {
            poll_fn(|cx| writer.poll_ready(cx)).await.unwrap();
            writer.write(Bytes::from("x".repeat(100_000)));
        }
        assert_eq!(writer.written(), 200_000);
        writer.finish(&Headers::new()).await
    });
    for takes in [usize::MAX, 40_000, 1_001] {
        let (script, seen) = Script::of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        served(script.taking(takes), &handler, &Limits::default()).unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(
            seen.text() == format!("{head}186a0\r\n{big}\r\n186a0\r\n{big}\r\n0\r\n\r\n"),
            "{takes} at once"
        );
    }
}

#[test]
fn a_body_that_is_not_as_announced_is_never_passed_off_as_whole() {
    for (announced, written) in [(5, "abc"), (3, "abcde")] {
        let failed = Cell::new(false);
        let handler = With(async |_, _, responder: Responder<Script>| {
            let mut writer = responder.respond(&ResponseHead::new(200), Length::Exact(announced));
            writer.write(Bytes::from_static(written.as_bytes()));
            let end = poll_fn(|cx| writer.poll_finish(cx, &Headers::new())).await;
            failed.set(matches!(end, Err(Failure::BodyLength)));
            assert!(!writer.is_finished());
            writer.done()
        });
        let (script, seen) =
            Script::of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(served(script, &handler, &Limits::default()).unwrap(), Outcome::Aborted);
        assert!(failed.get() && seen.reset.get() && !seen.shut.get());
    }
}

#[test]
fn giving_up_sends_no_end() {
    let halfway = With(async |_, _, responder: Responder<Script>| {
        let mut writer = responder.respond(&ResponseHead::new(200), Length::Unknown);
        writer.write(Bytes::from_static(b"half"));
        poll_fn(|cx| writer.poll_flush(cx)).await.unwrap();
        writer.done()
    });
    let (script, seen) = Script::of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(served(script, &halfway, &Limits::default()).unwrap(), Outcome::Aborted);
    assert!(seen.text().ends_with("4\r\nhalf\r\n") && seen.reset.get() && !seen.shut.get());

    let (script, seen) = Script::of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let silent = With(async |_, _, responder: Responder<Script>| responder.close());
    assert_eq!(served(script, &silent, &Limits::default()).unwrap(), Outcome::Aborted);
    assert_eq!(seen.text(), "");
}

/// A body that ends with the connection: a clean end would be the end of the body.
const UNTIL_CLOSED: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

#[test]
fn a_connection_that_is_dropped_amid_an_exchange_is_reset() {
    let half = With(async |_, _, responder: Responder<Script>| {
        let mut writer = responder.respond(&ResponseHead::new(200), Length::Unknown);
        writer.write(Bytes::from_static(b"half"));
        poll_fn(|cx| writer.poll_flush(cx)).await.unwrap();
        std::future::pending().await
    });
    let whole = With(async |_, _, responder: Responder<Script>| {
        responder.respond_full(&ResponseHead::new(200), b"whole")
    });
    let (reset, text) = dropped_when_it_waits(UNTIL_CLOSED, &half);
    assert!(reset && text.ends_with("half"), "{text}");
    // Nothing is missing of a response that has left: a reset could overtake it.
    for request in [UNTIL_CLOSED, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let (reset, text) = dropped_when_it_waits(request, &whole);
        assert!(!reset && text.ends_with("whole"), "{text}");
    }
}

/// Serves `request` until nothing moves any more and drops the connection: whether it was reset, and what was written.
fn dropped_when_it_waits<H: sidering_http::Handler<Script>>(request: &[u8], handler: &H) -> (bool, String) {
    run(async {
        let (script, seen) = Script::new([Step::Bytes(request.to_vec()), Step::Stall]);
        let (limits, drain) = (Limits::default(), Drain::new());
        let mut serving = Box::pin(serve(script, handler, &limits, &drain));
        let _ = poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx))).await;
        // What was held has left at the end of the round.
        sidering_net::yield_now().await;
        drop(serving);
        (seen.reset.get(), seen.text())
    })
}

#[test]
fn a_response_that_the_client_does_not_take_in_time_ends_in_a_reset() {
    let whole = With(async |_, _, responder: Responder<Script>| {
        responder.respond_full(&ResponseHead::new(200), &[b'x'; 10_000])
    });
    let (script, seen) = Script::new([Step::Bytes(UNTIL_CLOSED.to_vec()), Step::Stall]);
    let outcome = served(script.taking_in_all(5_000), &whole, &impatient());
    assert!(matches!(outcome, Err(Failure::TimedOut(Phase::Write))), "{outcome:?}");
    assert!(seen.written.borrow().len() == 5_000 && seen.reset.get() && !seen.shut.get());
}

#[test]
fn an_unread_body_is_drained_within_the_cap() {
    let early =
        With(async |_, _, responder: Responder<Script>| responder.respond_full(&ResponseHead::new(200), b""));
    let limits = Limits { drain_bytes: 10, ..Limits::default() };
    for (body, kept) in [
        ("Content-Length: 10\r\n\r\n0123456789", true),
        ("Content-Length: 11\r\n\r\n0123456789a", false),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n", false),
        ("Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", false),
    ] {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (script, seen) = Script::of(raw.as_bytes());
        let outcome = served(script, &early, &limits).unwrap();
        assert_eq!(outcome, if kept { Outcome::ClosedByPeer } else { Outcome::Closed }, "{body:?}");
        assert_eq!(seen.text().matches("200 OK").count(), if kept { 2 } else { 1 }, "{body:?}");
        assert_eq!(seen.text().contains("close"), body.starts_with("Expect"), "{body:?}");
    }
}

#[test]
fn a_drain_ends_idle_connections_at_once_and_others_after_their_response() {
    run(async {
        let drain = Drain::new();
        let (io, _client) = duplex(1024);
        let start = async { drain.start() };
        let (outcome, ()) = join(serve(io, &Echo::default(), &Limits::default(), &drain), start).await;
        assert_eq!(outcome.unwrap(), Outcome::Closed);
    });
    let drain = Drain::new();
    let busy = With(async |_, _, responder: Responder<Script>| {
        drain.start();
        responder.respond_full(&ResponseHead::new(200), b"")
    });
    let request = Step::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    let (script, seen) = Script::new([request, Step::Stall]);
    assert_eq!(run(serve(script, &busy, &Limits::default(), &drain)).unwrap(), Outcome::Closed);
    assert_eq!(seen.text(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(seen.shut.get());
}

#[test]
fn a_drain_does_not_lose_the_request_that_is_here_already() {
    let drain = Drain::new();
    drain.start();
    let request = Step::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    let (script, seen) = Script::new([request, Step::Stall]);
    assert_eq!(run(serve(script, &Echo::default(), &Limits::default(), &drain)).unwrap(), Outcome::Closed);
    assert_eq!(seen.text(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

#[test]
fn the_handler_may_close_after_its_response() {
    let last = With(async |_, _, mut responder: Responder<Script>| {
        responder.close_afterwards();
        responder.respond_full(&ResponseHead::new(403), b"no")
    });
    let (script, seen) = Script::of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(served(script, &last, &Limits::default()).unwrap(), Outcome::Closed);
    assert_eq!(seen.text(), "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
}

#[test]
fn each_wait_has_its_limit() {
    let echo = Echo::default();
    let stalls = |sent: &str| Script::new([Step::Bytes(sent.into()), Step::Stall]).0;
    assert_eq!(served(stalls(""), &echo, &impatient()).unwrap(), Outcome::Idle);
    assert_eq!(
        served(stalls("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), &echo, &impatient()).unwrap(),
        Outcome::Idle
    );
    let outcome = served(stalls("GET / HT"), &echo, &impatient()).unwrap();
    assert_eq!(outcome, Outcome::Malformed(Malformed::HeadTimeout));
    let (script, _) = Script::new([Step::Wait, Step::Bytes(b"GET / HT".to_vec()), Step::Stall]);
    let patient_between = Limits { idle: Limits::default().idle, ..impatient() };
    let outcome = served(script, &echo, &patient_between).unwrap();
    assert_eq!(outcome, Outcome::Malformed(Malformed::HeadTimeout), "each limit for its own wait");
    echo.log.take();
    let outcome =
        served(stalls("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"), &echo, &impatient());
    assert_eq!(outcome.unwrap(), Outcome::Aborted);
    assert_eq!(echo.log.take(), ["POST / TimedOut(Read)"]);
    let outcome = served(stalls("GET / HTTP/1.1\r\nHost: a\r\n\r\n").taking(0), &echo, &impatient());
    assert!(matches!(outcome, Err(Failure::TimedOut(Phase::Write))), "{outcome:?}");
}

#[test]
fn a_head_that_trickles_in_does_not_renew_its_limit() {
    // Each byte comes at once when asked for, but never the last: only the limit on the whole head ends this.
    let endless = std::iter::repeat_n([Step::Bytes(b"x".to_vec()), Step::Wait], 30_000).flatten();
    let head = [Step::Bytes(b"GET / HTTP/1.1\r\nX: ".to_vec())];
    let (script, _) = Script::new(head.into_iter().chain(endless));
    let outcome = served(script, &Echo::default(), &impatient()).unwrap();
    assert_eq!(outcome, Outcome::Malformed(Malformed::HeadTimeout));
}

#[test]
fn a_reader_that_does_not_read_bounds_what_is_queued() {
    run(async {
        let (io, client) = duplex(1024);
        let queued = Rc::new(Cell::new(0_usize));
        let handler = With(async |_, _, responder: Responder<tokio::io::DuplexStream>| {
            let mut writer = responder.respond(&ResponseHead::new(200), Length::Unknown);
            while queued.get() < 1_000_000 && poll_fn(|cx| writer.poll_ready(cx)).await.is_ok() {
                writer.write(Bytes::from(vec![0; 1000]));
                queued.set(queued.get() + 1000);
            }
            writer.done()
        });
        let mut client = client;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // The write limit ends it: nothing was ever read.
        let outcome = serve(io, &handler, &impatient(), &Drain::new()).await;
        assert!(matches!(outcome, Err(Failure::TimedOut(Phase::Write))), "{outcome:?}");
        assert!(queued.get() <= 20_000, "{} bytes queued", queued.get());
    });
}

#[test]
fn a_handler_that_does_not_read_bounds_what_a_client_can_send() {
    run(async {
        let (io, mut client) = duplex(1024);
        let unread = With(async |_, body: Body<tokio::io::DuplexStream>, responder: Responder<_>| {
            // Holds the body and waits for the client to be blocked.
            let mut turns = 0;
            poll_fn(|cx| {
                turns += 1;
                sidering_net::later(cx.waker());
                if turns > 100 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            drop(body);
            responder.close()
        });
        let sent = Cell::new(0);
        let upload = async {
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
            client.write_all(head).await.unwrap();
            while client.write_all(&[0; 100]).await.is_ok() {
                sent.set(sent.get() + 100);
            }
        };
        let (outcome, ()) = join(serve(io, &unread, &Limits::default(), &Drain::new()), upload).await;
        assert_eq!(outcome.unwrap(), Outcome::Aborted);
        assert!(sent.get() <= 3000, "{} bytes sent", sent.get());
    });
}

#[test]
fn a_body_kept_beyond_its_exchange_reads_nothing() {
    let kept: RefCell<Option<Body<Script>>> = RefCell::default();
    let results = RefCell::new(Vec::new());
    let handler = With(async |_, body, responder: Responder<Script>| {
        let old = kept.borrow_mut().replace(body);
        if let Some(mut old) = old {
            let result = whole(&mut old).await.map_err(|failure| failure.to_string());
            results.borrow_mut().push(result);
        }
        responder.respond_full(&ResponseHead::new(200), b"")
    });
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let (script, _) = Script::of(request.repeat(2).as_bytes());
    served(script, &handler, &Limits::default()).unwrap();
    assert_eq!(results.take(), [Err("exchange aborted".to_owned())]);
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn early_bytes_behind_an_upgrade_belong_to_the_tunnel() {
    run(async {
        let (io, mut client) = duplex(1024);
        let handler = With(async |head: sidering_http::RequestHead, _, responder: Responder<_>| {
            assert!(head.websocket);
            let (mut tunnel, done) = responder.upgrade(&ResponseHead::new(101));
            tunnel.flush().await.unwrap();
            let mut early = vec![0; 40];
            let size = tunnel.read(&mut early).await.unwrap();
            tunnel.write_all(&early[..size]).await.unwrap();
            tunnel.shutdown().await.unwrap();
            done
        });
        client.write_all(format!("{UPGRADE}GET /x HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let outcome = serve(io, &handler, &Limits::default(), &Drain::new()).await.unwrap();
        assert_eq!(outcome, Outcome::Upgraded);
        let mut output = String::new();
        client.read_to_string(&mut output).await.unwrap();
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        assert_eq!(output, format!("{head}GET /x HTTP/1.1\r\n\r\n"));
    });
}

#[test]
fn early_bytes_behind_a_refused_upgrade_are_no_request() {
    let (output, log, outcome) = echoed(&format!("{UPGRADE}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(output, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert_eq!(log, ["GET /chat "]);
    assert_eq!(outcome.unwrap(), Outcome::Closed);
}

#[test]
fn a_client_that_leaves_while_it_is_owed_a_response_is_seen() {
    let waiting = With(async |_, mut body: Body<Script>, responder: Responder<Script>| {
        assert_eq!(whole(&mut body).await.unwrap(), "abc");
        poll_fn(|cx| body.poll_gone(cx)).await;
        responder.close()
    });
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let (script, _) = Script::new([Step::Bytes(request.into()), Step::Wait, Step::End]);
    assert_eq!(served(script, &waiting, &Limits::default()).unwrap(), Outcome::Aborted);
}

#[test]
fn a_request_sent_ahead_is_no_sign_of_leaving() {
    let looks = With(async |_, mut body: Body<Script>, responder: Responder<Script>| {
        for _ in 0..3 {
            let gone = poll_fn(|cx| Poll::Ready(body.poll_gone(cx).is_ready())).await;
            assert!(!gone);
            sidering_net::yield_now().await;
        }
        responder.respond_full(&ResponseHead::new(200), b"")
    });
    let request = Step::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    let last = Step::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec());
    let (script, seen) = Script::new([request, Step::Wait, last, Step::Stall]);
    assert_eq!(served(script, &looks, &Limits::default()).unwrap(), Outcome::Closed);
    assert_eq!(seen.text().matches("200 OK").count(), 2);
}

#[test]
fn requests_at_hand_do_not_starve_the_core() {
    run(async {
        let (script, _) = Script::of("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(320).as_bytes());
        let done = Cell::new(false);
        let serving = async {
            let outcome = serve(script, &Echo::default(), &Limits::default(), &Drain::new()).await;
            done.set(true);
            outcome
        };
        let mut turns = 0;
        let other = poll_fn(|_| {
            turns += 1;
            if done.get() { Poll::Ready(()) } else { Poll::Pending }
        });
        let (outcome, ()) = join(serving, other).await;
        assert_eq!(outcome.unwrap(), Outcome::ClosedByPeer);
        assert!(turns >= 10, "{turns} turns");
    });
}

#[test]
fn many_tiny_chunks_make_few_pieces() {
    let pieces = Cell::new(0);
    let counting = With(async |_, mut body: Body<Script>, responder: Responder<Script>| {
        let mut size = 0;
        while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
            size += data.unwrap().len();
            pieces.set(pieces.get() + 1);
        }
        assert_eq!((size, body.trailers().len()), (10_000, 1));
        responder.respond_full(&ResponseHead::new(200), b"")
    });
    let chunks = "1\r\nx\r\n".repeat(10_000);
    let raw =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\nT: t\r\n\r\n");
    served(Script::of(raw.as_bytes()).0, &counting, &Limits::default()).unwrap();
    assert!(pieces.get() < 10, "{} pieces", pieces.get());
}

#[test]
fn a_final_response_is_final_whatever_its_status() {
    let odd =
        With(async |_, _, responder: Responder<Script>| responder.respond_full(&ResponseHead::new(100), b""));
    let (script, seen) = Script::of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    served(script, &odd, &Limits::default()).unwrap();
    assert!(seen.text().starts_with("HTTP/1.1 500 "));
}
