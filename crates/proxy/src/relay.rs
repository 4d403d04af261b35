//! Moves the bytes, once everything is decided: opaque ones both ways until both sides have ended, and HTTP exchange
//! by exchange. There is one of each; both take the `Permit` by value, so nothing is relayed without one.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sidering_http::{
    Body, BodyWriter, Client, Done, Exchange, Failure, RequestHead, Responder, ResponseHead,
};
use sidering_net::{Counters, Elapsed, RelayFailure, Stream, Timer, deadline, later};
use sidering_policy::Permit;

use crate::connection::Connection;
use crate::io::Io;
use crate::refused::{Refused, Stage};
use crate::report::Flow;
use crate::upstream::Established;
use crate::{Phase, Reason};

/// Both ways until both have ended; half-close is passed on. On failure both are reset: neither side may take what it
/// has for the whole.
pub(crate) async fn tcp(
    connection: &Connection,
    _permit: Permit,
    downstream: &mut Io,
    upstream: &mut Io,
    idle: Option<Duration>,
    flow: &Flow,
) -> Stage<()> {
    let relaying = pin!(sidering_net::relay(downstream, upstream, idle, flow));
    connection.unless_aborted(relaying).await?.map_err(|why| broken(&why))
}

fn broken(why: &RelayFailure) -> Box<Refused> {
    let reason = match why {
        RelayFailure::A(error) => Reason::of_downstream_io(error),
        RelayFailure::B(error) => Reason::from(error),
        RelayFailure::Idle => Reason::IdleTimeout,
    };
    Refused::new(Phase::Relay, reason, why.to_string())
}

/// A request that was authorized and is to be answered.
pub(crate) struct Request {
    pub(crate) permit: Permit,
    pub(crate) head: RequestHead,
    pub(crate) body: Body<Io>,
    pub(crate) responder: Responder<Io>,
}

/// An exchange that got an answer from upstream.
pub(crate) struct Answered {
    /// Of the request.
    pub(crate) head: RequestHead,
    pub(crate) done: Done,
    pub(crate) status: u16,
    /// When the response's head was there.
    pub(crate) first_byte: Instant,
    /// Body bytes of the request and of the response.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// The connection, if it can be used again.
    pub(crate) client: Option<Client<Io>>,
    /// Why the response is not whole, if it is not.
    pub(crate) cut: Option<Cut>,
}

/// A request that got no answer: whoever gets it back replies, or tries again.
pub(crate) struct Unanswered {
    pub(crate) request: Request,
    pub(crate) why: Cut,
    /// Nothing of the request's body was taken, and no byte of a response came: it can be sent again.
    pub(crate) untouched: bool,
    /// No byte of the request left.
    pub(crate) unsent: bool,
}

/// Until when an exchange must have come how far.
#[derive(Clone, Copy)]
pub(crate) struct Deadlines {
    head: Instant,
    whole: Option<Instant>,
}

impl Deadlines {
    /// Of one that begins at `since`, under a route's timeout, if it has one.
    pub(crate) fn new(since: Instant, timeout: Option<Instant>) -> Self {
        Self { head: timeout.unwrap_or(since + UNANSWERED), whole: timeout }
    }
}

/// Where an exchange broke.
#[derive(Debug)]
pub(crate) enum Cut {
    Downstream(Failure),
    Upstream(Failure),
    /// The route's timeout, or [`UNANSWERED`] where it has none.
    Timeout,
    /// A tunnel in which nothing moved.
    Idle,
    /// A tunnel was granted that what is in force now forbids.
    Revoked(Box<Refused>),
}

/// One exchange: the request to `client`, its response to the responder, edited by `edit` on its way. Both bodies move
/// at once, each as fast as its reader takes it.
pub(crate) async fn http(
    connection: &Connection,
    upstream: &Rc<Established>,
    mut request: Request,
    client: Client<Io>,
    patience: &mut Timer,
    deadlines: Deadlines,
    edit: impl FnOnce(&mut ResponseHead),
) -> Result<Answered, Box<Unanswered>> {
    let mut exchange = client.start(&request.head, request.body.length());
    let mut upload = Upload::default();
    let head = poll_fn(|cx| poll_answer(cx, &mut request, &mut exchange, &mut upload));
    let mut head = match patience.deadline(deadlines.head, head).await {
        Ok(Ok(head)) => head,
        Ok(Err(why)) => return Err(unanswered(request, &exchange, &upload, why)),
        Err(Elapsed) => return Err(unanswered(request, &exchange, &upload, Cut::Timeout)),
    };
    let first_byte = sidering_net::now();
    edit(&mut head);
    if head.status == 101 {
        if let Err(refused) = connection.tunnels(upstream) {
            return Err(unanswered(request, &exchange, &upload, Cut::Revoked(refused)));
        }
        // Boxed: it is rare, and every exchange would keep room for it.
        return Ok(Box::pin(tunnel(request, exchange, &head, first_byte)).await);
    }

    // Kept for as long as anything is relayed.
    let _permit = request.permit;
    let mut download = request.responder.respond(&head, exchange.body.length());
    let both = poll_fn(|cx| {
        // A server may answer before it has the whole request: its response decides.
        if let Poll::Ready(Err(Cut::Downstream(failure))) =
            upload.poll(cx, &mut request.body, &mut exchange.upload)
        {
            return Poll::Ready(Err(Cut::Downstream(failure)));
        }
        poll_pump(cx, &mut exchange.body, &mut download).map_err(|side| match side {
            Side::Reading(failure) => Cut::Upstream(failure),
            Side::Writing(failure) => Cut::Downstream(failure),
        })
    });
    let cut = match within(deadlines.whole, both).await {
        Ok(ended) => ended.err(),
        Err(Elapsed) => Some(Cut::Timeout),
    };
    let (received, sent) = (exchange.upload.written(), download.written());
    // Upstream first: an aborted download closes the connection for good.
    let client = if cut.is_none() { exchange.finish() } else { None };
    let (done, status) = (download.done(), head.status);
    Ok(Answered { head: request.head, done, status, first_byte, received, sent, client, cut })
}

/// Uploads until the final head is there; interim responses are passed on. A client that leaves ends it.
fn poll_answer(
    cx: &mut Context<'_>,
    request: &mut Request,
    exchange: &mut Exchange<Io>,
    upload: &mut Upload,
) -> Poll<Result<ResponseHead, Cut>> {
    if let Poll::Ready(Err(cut)) = upload.poll(cx, &mut request.body, &mut exchange.upload) {
        return Poll::Ready(Err(cut));
    }
    // An interim response that has not left yet.
    if let Poll::Ready(Err(failure)) = request.responder.poll_flush(cx) {
        return Poll::Ready(Err(Cut::Downstream(failure)));
    }
    loop {
        let Poll::Ready(head) = exchange.poll_head(cx) else {
            ready!(request.body.poll_gone(cx));
            return Poll::Ready(Err(Cut::Downstream(Failure::Closed)));
        };
        let head = head.map_err(Cut::Upstream)?;
        if head.status >= 200 || head.status == 101 {
            return Poll::Ready(Ok(head));
        }
        request.responder.informational(&head);
        if let Poll::Ready(Err(failure)) = request.responder.poll_flush(cx) {
            return Poll::Ready(Err(Cut::Downstream(failure)));
        }
    }
}

#[cold]
fn unanswered(request: Request, exchange: &Exchange<Io>, upload: &Upload, why: Cut) -> Box<Unanswered> {
    let progress = exchange.progress();
    let upstream_failed = matches!(why, Cut::Upstream(_));
    let untouched = upstream_failed && progress.received == 0 && !upload.taken;
    Box::new(Unanswered { request, why, untouched, unsent: progress.sent == 0 })
}

/// After 101 both sides are bytes.
async fn tunnel(
    request: Request,
    exchange: Exchange<Io>,
    head: &ResponseHead,
    first_byte: Instant,
) -> Answered {
    let (mut downstream, done) = request.responder.upgrade(head);
    let mut upstream = exchange.upgraded();
    let counters = Counters::default();
    let cut = match sidering_net::relay(&mut downstream, &mut upstream, Some(TUNNEL_IDLE), &counters).await {
        Ok(()) => None,
        Err(RelayFailure::A(error)) => Some(Cut::Downstream(error.into())),
        Err(RelayFailure::B(error)) => Some(Cut::Upstream(error.into())),
        Err(RelayFailure::Idle) => Some(Cut::Idle),
    };
    Answered {
        head: request.head,
        done,
        status: head.status,
        first_byte,
        received: counters.forward.get(),
        sent: counters.backward.get(),
        client: None,
        cut,
    }
}

/// Istio sets no limit for routes without a timeout; nothing waits for ever here.
const UNANSWERED: Duration = Duration::from_secs(3600);

/// As long: a tunnel in which nothing moves.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// The request's body on its way up.
#[derive(Default)]
struct Upload {
    over: bool,
    /// Something of the body was taken from the client: it cannot be sent a second time.
    taken: bool,
}

impl Upload {
    fn poll<S: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body<S>,
        writer: &mut BodyWriter<S, sidering_http::Request>,
    ) -> Poll<Result<(), Cut>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        let pumped = poll_pump(cx, body, writer);
        self.taken = writer.written() > 0;
        match ready!(pumped) {
            // Until its end has left it is asked again: the stream may not take what was held for the round.
            Ok(()) => self.over = writer.is_finished(),
            Err(Side::Reading(failure)) => return Poll::Ready(Err(Cut::Downstream(failure))),
            // The server may have answered before it closed: what it said is still asked for.
            Err(Side::Writing(_)) => self.over = true,
        }
        Poll::Ready(Ok(()))
    }
}

enum Side {
    Reading(Failure),
    Writing(Failure),
}

/// Bytes moved per poll before others have their turn.
const BUDGET: usize = 256 * 1024;

/// Moves a body. What is written is flushed before sleeping.
fn poll_pump<S: Stream, Of>(
    cx: &mut Context<'_>,
    from: &mut Body<S>,
    to: &mut BodyWriter<S, Of>,
) -> Poll<Result<(), Side>> {
    let mut budget = BUDGET;
    loop {
        if from.is_ended() {
            return to.poll_finish(cx, &from.trailers()).map_err(Side::Writing);
        }
        if budget == 0 {
            later(cx.waker());
            return Poll::Pending;
        }
        ready!(to.poll_ready(cx)).map_err(Side::Writing)?;
        match from.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                budget = budget.saturating_sub(data.len());
                to.write(data);
            }
            Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(Side::Reading(failure))),
            Poll::Ready(None) => return to.poll_finish(cx, &from.trailers()).map_err(Side::Writing),
            Poll::Pending => {
                ready!(to.poll_flush(cx)).map_err(Side::Writing)?;
                return Poll::Pending;
            }
        }
    }
}

/// As `net::deadline`, where there may be none. Pinned by the caller, as for `Stop::unless`.
pub(crate) async fn within<T>(
    until: Option<Instant>,
    f: impl Future<Output = T> + Unpin,
) -> Result<T, Elapsed> {
    match until {
        Some(at) => deadline(at, f).await,
        None => Ok(f.await),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use sidering_http::{Drain, Handler, Length, Limits, Malformed, serve};
    use sidering_net::{Driver, block_on, now, spawn_local};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const REQUEST: &str =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

    /// Uploads, and answers once all of it has left.
    struct Uploading(RefCell<Option<DuplexStream>>);

    impl Handler<DuplexStream> for Uploading {
        async fn handle(
            &self,
            head: RequestHead,
            mut body: Body<DuplexStream>,
            responder: Responder<DuplexStream>,
        ) -> Done {
            let upstream = self.0.take().expect("one request");
            let mut exchange = Client::http1(upstream, &Limits::default()).start(&head, Length::Unknown);
            let mut upload = Upload::default();
            let left = poll_fn(|cx| {
                let _ = upload.poll(cx, &mut body, &mut exchange.upload);
                if exchange.upload.is_finished() { Poll::Ready(()) } else { Poll::Pending }
            });
            let left = deadline(now() + Duration::from_secs(5), left).await;
            responder.respond_full(&ResponseHead::new(if left.is_ok() { 200 } else { 504 }), b"")
        }

        async fn malformed(&self, _: Malformed, responder: Responder<DuplexStream>) -> Done {
            responder.close()
        }
    }

    #[test]
    fn the_end_of_an_upload_that_the_stream_refused_at_first_leaves() {
        block_on(Driver::Epoll, async {
            // All but the last chunk fits.
            let (upstream, mut server) = duplex(REQUEST.len() - 5);
            let (downstream, mut client) = duplex(1024);
            let handler = Uploading(RefCell::new(Some(upstream)));
            spawn_local(async move {
                let _ = serve(downstream, &handler, &Limits::default(), &Drain::new()).await;
            });
            client.write_all(REQUEST.as_bytes()).await.unwrap();
            // Nothing is read before the round is over.
            sidering_net::yield_now().await;
            sidering_net::yield_now().await;
            let mut got = vec![0; REQUEST.len()];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&got), REQUEST);
            let mut answer = [0; 12];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        })
        .unwrap();
    }
}
