//! The server side of a connection, whatever its version: `serve` reads requests and calls a `Handler`, which
//! answers through a `Responder`. That exactly one final response is sent is a matter of types: a `Done` comes only
//! from a `Responder` or the `BodyWriter` it became, and both are used up by it.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use sidering_net::{Stream, yield_now};

use crate::h1::{self, Next, Shared};
use crate::{
    Body, BodyWriter, Drain, Failure, Length, Limits, Malformed, RequestHead, ResponseHead, Upgraded,
};

/// Answers requests. Implementations write `async fn`.
pub trait Handler<S> {
    /// Answers a request. What it leaves of the body unread is drained within a cap, else the connection closes.
    fn handle(&self, head: RequestHead, body: Body<S>, responder: Responder<S>)
    -> impl Future<Output = Done>;

    /// Answers what is no request. The connection closes afterwards, whatever the answer.
    fn malformed(&self, why: Malformed, responder: Responder<S>) -> impl Future<Output = Done>;
}

/// Proof that an exchange was answered, or given up.
#[derive(Debug)]
#[must_use]
pub struct Done(pub(crate) ());

/// Answers one request, once.
pub struct Responder<S> {
    connection: Shared<S>,
    drain: Drain,
    last: bool,
}

impl<S: Stream> Responder<S> {
    /// Queues an informational response (1xx but 101). Not sent to HTTP/1.0 clients, which know none.
    pub fn informational(&mut self, head: &ResponseHead) {
        self.connection.borrow_mut().informational(head);
    }

    /// Ready when all informational responses are with the stream; call it before sleeping.
    ///
    /// # Errors
    /// A failed stream, or no progress in time.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.connection.borrow_mut().poll_flush(cx)
    }

    /// The connection shall close after this response; it says so.
    pub fn close_afterwards(&mut self) {
        self.last = true;
    }

    /// Queues the head of the final response; it leaves with the first of the body. Framing headers, Connection,
    /// Keep-Alive and Upgrade among `head.headers` are not written: they follow from `length` and the connection.
    pub fn respond(self, head: &ResponseHead, length: Length) -> BodyWriter<S> {
        let last = self.is_last();
        self.connection.borrow_mut().respond(head, length, last);
        BodyWriter::new(self.connection)
    }

    /// A whole response at once; it leaves after the handler returned.
    pub fn respond_full(self, head: &ResponseHead, body: &[u8]) -> Done {
        let last = self.is_last();
        self.connection.borrow_mut().respond_full(head, body, last);
        Done(())
    }

    /// Answers 101 (queued: flush the stream) and gives the bare stream both ways. Only for requests with
    /// `RequestHead::websocket`; early bytes of the client come out of it first. The Upgrade and Connection headers
    /// are written from the fact.
    pub fn upgrade(self, head: &ResponseHead) -> (Upgraded<S>, Done) {
        self.connection.borrow_mut().upgrade(head);
        (Upgraded::new(self.connection), Done(()))
    }

    fn is_last(&self) -> bool {
        self.last || self.drain.is_started()
    }

    /// Answers nothing; the connection closes.
    pub fn close(self) -> Done {
        Done(())
    }
}

/// How a connection ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client closed between two requests.
    ClosedByPeer,
    /// No request within `Limits::idle`.
    Idle,
    /// The last response said that it was the last: asked for by the client, the handler or a drain, or the rest of
    /// an unread body was over the cap.
    Closed,
    /// The client was gone before the last response had left.
    Undelivered,
    /// It became a tunnel, which ended.
    Upgraded,
    /// What came was no request; the handler answered it.
    Malformed(Malformed),
    /// The handler gave a response up halfway, or closed without one.
    Aborted,
}

/// Serves requests one after the other until the connection ends.
///
/// # Errors
/// The stream failed, or the peer closed inside a head or stopped taking a response.
pub async fn serve<S: Stream + 'static, H: Handler<S>>(
    io: S,
    handler: &H,
    limits: &Limits,
    drain: &Drain,
) -> Result<Outcome, Failure> {
    let connection = h1::Connection::shared(io, limits);
    loop {
        let next = poll_fn(|cx| connection.borrow_mut().poll_request(drain, cx)).await?;
        let under_way = h1::UnderWay::on(&connection);
        let responder = Responder { connection: connection.clone(), drain: drain.clone(), last: false };
        let Done(()) = match next {
            // Boxed: between two exchanges the connection keeps no room for one.
            Next::Request(head) => {
                Box::pin(handler.handle(head, Body::new(connection.clone()), responder)).await
            }
            Next::Malformed(why) => handler.malformed(why, responder).await,
            Next::End(outcome) => {
                under_way.over();
                h1::close(&connection).await;
                return Ok(outcome);
            }
        };
        if let Some(outcome) = h1::conclude(under_way).await? {
            return Ok(outcome);
        }
        let exchanges = connection.borrow().exchange();
        if exchanges.is_multiple_of(TURN) {
            yield_now().await;
        }
    }
}

/// Requests answered before the rest of the core has its turn, should they all be at hand already.
const TURN: u64 = 32;
