//! The server side of an HTTP/1 connection: requests in, heads out, and what becomes of the connection afterwards.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use sidering_net::Stream;

use super::connection::{Asked, Connection, Shared};
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::read;
use super::write;
use crate::{Drain, Failure, Headers, Length, Malformed, Outcome, Phase, RequestHead, ResponseHead, Version};

/// What comes next on a connection.
pub(crate) enum Next {
    Request(RequestHead),
    /// No request.
    Malformed(Malformed),
    /// Nothing more.
    End(Outcome),
}

/// What becomes of a connection after an exchange.
pub(crate) enum After {
    /// The handler gave up; the peer must not take it for an end.
    Abort,
    /// The tunnel ended, and closed itself.
    Upgraded,
    /// The response is to be delivered, then the connection closes.
    Close,
    /// The response is to be delivered, then the next request read.
    Keep,
}

impl<S: Stream> Connection<S> {
    /// The next request head. While there is no byte of one, a drain ends the connection.
    pub(crate) fn poll_request(
        &mut self,
        drain: &Drain,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, Failure>> {
        // A client that does not take its responses is asked for no more.
        if !self.is_held() {
            let owed = self.owes();
            match ready!(self.poll_flush(cx)) {
                Err(Failure::Io(_)) if owed => return Poll::Ready(Ok(Next::End(Outcome::Undelivered))),
                flushed => flushed?,
            }
        }
        loop {
            match read::request(&mut self.input, &mut self.scan, &self.limits) {
                Ok(Some((head, framing))) => {
                    self.reading.rest();
                    self.begin(&head, &framing);
                    return Poll::Ready(Ok(Next::Request(head)));
                }
                Ok(None) => {}
                Err(why) => return Poll::Ready(Ok(self.refused(why))),
            }
            if !self.input.is_empty() {
                match ready!(self.poll_fill(self.limits.head, Phase::Head, cx)) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(Err(Failure::Truncated)),
                    Err(Failure::TimedOut(_)) => {
                        return Poll::Ready(Ok(self.refused(Malformed::HeadTimeout)));
                    }
                    Err(failure) => return Poll::Ready(Err(failure)),
                }
                continue;
            }
            self.release();
            let Poll::Ready(filled) = self.poll_fill(self.limits.idle, Phase::Head, cx) else {
                // A request that is here already is served still.
                return drain.poll_started(cx).map(|()| Ok(Next::End(Outcome::Closed)));
            };
            match filled {
                // The clock of the head starts now.
                Ok(true) => self.reading.rest(),
                Err(Failure::TimedOut(_)) => return Poll::Ready(Ok(Next::End(Outcome::Idle))),
                // Nothing was under way, so how it closed makes no difference.
                Ok(false) | Err(_) => return Poll::Ready(Ok(Next::End(Outcome::ClosedByPeer))),
            }
        }
    }

    fn begin(&mut self, head: &RequestHead, framing: &read::RequestFraming) {
        self.exchange += 1;
        self.asked = Asked {
            head: head.method == http::Method::HEAD,
            http10: head.version == Version::Http10,
            websocket: head.websocket,
            expects: framing.expects,
        };
        self.keep_alive = framing.keep_alive;
        self.decoder = Decoder::request(framing.length);
        self.encoder = Encoder::waiting();
        self.sent = 0;
    }

    fn refused(&mut self, why: Malformed) -> Next {
        self.exchange += 1;
        self.asked = Asked::default();
        self.encoder = Encoder::waiting();
        self.refuse(why);
        Next::Malformed(why)
    }

    /// Queues an informational response; HTTP/1.0 knows none.
    pub(crate) fn informational(&mut self, head: &ResponseHead) {
        let is_one = matches!(head.status, 100 | 102..=199);
        if is_one && !self.asked.http10 {
            let (framing, connection) = (write::Framing::Silent, write::Connection::Silent);
            write::response(self.output.end(), head.status, &head.headers, framing, connection);
        }
    }

    /// Queues the head of the final response. `last`: the connection closes after it.
    pub(crate) fn respond(&mut self, head: &ResponseHead, length: Length, last: bool) {
        // After an upgrade that is not granted, early bytes of the tunnel could pass for a request; after a final
        // response to Expect nobody knows whether the body still comes (RFC 9110, 10.1.1).
        let ambiguous = self.asked.websocket || (self.asked.expects && !self.decoder.is_ended());
        // A status below 200 would leave the client waiting for the final one.
        let status = if head.status < 200 { 500 } else { head.status };
        let (encoder, framing) = Encoder::response(status, length, self.asked.head, !self.asked.http10);
        self.keep_alive &= !last && !ambiguous && !encoder.ends_by_close();
        let connection = match (self.keep_alive, self.asked.http10) {
            (false, _) => write::Connection::Close,
            (true, true) => write::Connection::KeepAlive,
            (true, false) => write::Connection::Silent,
        };
        self.encoder = encoder;
        write::response(self.output.end(), status, &head.headers, framing, connection);
    }

    /// Queues a whole response.
    pub(crate) fn respond_full(&mut self, head: &ResponseHead, body: &[u8], last: bool) {
        self.respond(head, Length::Exact(body.len() as u64), last);
        self.encoder.write(Bytes::copy_from_slice(body), &mut self.output);
        self.encoder.end(&Headers::new(), self.output.end());
    }

    /// Queues 101; what follows is a tunnel.
    pub(crate) fn upgrade(&mut self, head: &ResponseHead) {
        debug_assert!(self.asked.websocket, "nobody asked for an upgrade");
        let (framing, connection) = (write::Framing::Silent, write::Connection::Websocket);
        write::response(self.output.end(), 101, &head.headers, framing, connection);
        self.encoder.end_with_head();
        self.upgraded = true;
    }

    /// The rule that the client broke in this exchange.
    pub(crate) fn malformed(&self) -> Option<Malformed> {
        self.malformed
    }

    fn after(&self) -> After {
        if self.upgraded {
            After::Upgraded
        } else if !self.encoder.is_ended() {
            After::Abort
        } else if self.keep_alive {
            After::Keep
        } else {
            After::Close
        }
    }

    /// Reads and drops; ready at the end of the stream or once `left` bytes came.
    fn poll_drop_input(&mut self, left: &mut u64, cx: &mut Context<'_>) -> Poll<()> {
        while *left > 0 {
            match ready!(self.poll_fill(std::time::Duration::MAX, Phase::Read, cx)) {
                Ok(true) => *left = left.saturating_sub(self.input.len() as u64),
                Ok(false) | Err(_) => break,
            }
            self.input.clear();
        }
        Poll::Ready(())
    }
}

/// An exchange that has begun. Dropped before its response was delivered it resets the connection: what the client got
/// of a body that ends with the connection would else pass for all of it.
pub(crate) struct UnderWay<'a, S: Stream>(&'a Shared<S>);

impl<'a, S: Stream> UnderWay<'a, S> {
    pub(crate) fn on(connection: &'a Shared<S>) -> Self {
        Self(connection)
    }

    /// Nothing of it is missing.
    pub(crate) fn over(self) {
        std::mem::forget(self);
    }
}

impl<S: Stream> Drop for UnderWay<'_, S> {
    fn drop(&mut self) {
        self.0.borrow_mut().reset();
    }
}

/// Delivers the response and readies the connection for the next request. `Some` ends the connection.
///
/// # Errors
/// The client did not take the response.
pub(crate) async fn conclude<S: Stream>(under_way: UnderWay<'_, S>) -> Result<Option<Outcome>, Failure> {
    let connection = under_way.0;
    let after = connection.borrow().after();
    let keep = match after {
        After::Upgraded => {
            under_way.over();
            return Ok(Some(Outcome::Upgraded));
        }
        After::Abort => {
            let connection = connection.borrow();
            if let Some(failure) = connection.broken() {
                return Err(failure);
            }
            let malformed = connection.malformed();
            return Ok(Some(malformed.map_or(Outcome::Aborted, Outcome::Malformed)));
        }
        After::Close => false,
        After::Keep => true,
    };
    poll_fn(|cx| {
        let mut connection = connection.borrow_mut();
        // What is held still has its length with it, and cannot pass for whole without its rest.
        if keep { connection.poll_flush(cx) } else { connection.poll_flush_now(cx) }
    })
    .await?;
    under_way.over();
    if keep && drop_body(connection).await {
        return Ok(None);
    }
    close(connection).await;
    let malformed = connection.borrow().malformed();
    Ok(Some(malformed.map_or(Outcome::Closed, Outcome::Malformed)))
}

/// Reads what the handler left of the request's body. False if it is too much or too slow.
async fn drop_body<S: Stream>(connection: &Shared<S>) -> bool {
    let limits = connection.borrow().limits;
    let mut left = limits.drain_bytes;
    let drain = async {
        loop {
            {
                let connection = connection.borrow();
                if connection.decoder.left().is_some_and(|rest| rest > left) {
                    return false;
                }
            }
            match poll_fn(|cx| connection.borrow_mut().poll_data(cx)).await {
                Some(Ok(data)) if data.len() as u64 <= left => left -= data.len() as u64,
                Some(_) => return false,
                None => return connection.borrow().keep_alive,
            }
        }
    };
    if connection.borrow().is_ended() {
        return true;
    }
    within(limits.linger, drain).await.unwrap_or(false)
}

/// How much more is read of a client whose request was not, so that the reset of a full receive queue does not
/// overtake the response.
const LINGER_BYTES: u64 = 1024 * 1024;

/// Ends the connection in order: our end first, then a while for the client to read it.
pub(crate) async fn close<S: Stream>(connection: &Shared<S>) {
    let (limits, unread) = {
        let connection = connection.borrow();
        let unread = !connection.is_ended() && !connection.decoder.is_waiting();
        (connection.limits, unread || !connection.input.is_empty())
    };
    let orderly = async {
        let _ = poll_fn(|cx| connection.borrow_mut().poll_shutdown(cx)).await;
        let mut left = if unread { LINGER_BYTES } else { 0 };
        poll_fn(|cx| connection.borrow_mut().poll_drop_input(&mut left, cx)).await;
    };
    let _ = within(limits.linger, orderly).await;
}

/// `None` if it took longer than `limit`.
async fn within<T>(limit: std::time::Duration, work: impl Future<Output = T>) -> Option<T> {
    match sidering_net::now().checked_add(limit) {
        Some(at) => sidering_net::deadline(at, work).await.ok(),
        None => Some(work.await),
    }
}
