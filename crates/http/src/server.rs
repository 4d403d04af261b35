//! The server side of a connection, whatever its version: `serve` reads requests and calls a `Handler`, which
//! answers through a `Responder`. That exactly one final response is sent is a matter of types: a `Done` comes only
//! from a `Responder` or the `BodyWriter` it became, and both are used up by it.

use std::future::Future;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use sidering_net::Stream;

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
    _todo: PhantomData<S>,
}

impl<S: Stream> Responder<S> {
    /// Queues an informational response (1xx but 101). Not sent to HTTP/1.0 clients, which know none.
    pub fn informational(&mut self, _head: &ResponseHead) {
        todo!()
    }

    /// Ready when all informational responses are with the stream; call it before sleeping.
    ///
    /// # Errors
    /// A failed stream, or no progress in time.
    pub fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        todo!()
    }

    /// The connection shall close after this response; it says so.
    pub fn close_afterwards(&mut self) {
        todo!()
    }

    /// Queues the head of the final response; it leaves with the first of the body. Framing headers, Connection,
    /// Keep-Alive and Upgrade among `head.headers` are not written: they follow from `length` and the connection.
    pub fn respond(self, _head: &ResponseHead, _length: Length) -> BodyWriter<S> {
        todo!()
    }

    /// A whole response at once; it leaves after the handler returned.
    pub fn respond_full(self, _head: &ResponseHead, _body: &[u8]) -> Done {
        todo!()
    }

    /// Answers 101 (queued: flush the stream) and gives the bare stream both ways. Only for requests with
    /// `RequestHead::websocket`; early bytes of the client come out of it first. The Upgrade and Connection headers
    /// are written from the fact.
    pub fn upgrade(self, _head: &ResponseHead) -> (Upgraded<S>, Done) {
        todo!()
    }

    /// Answers nothing; the connection closes.
    pub fn close(self) -> Done {
        todo!()
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
pub async fn serve<S: Stream, H: Handler<S>>(
    _io: S,
    _handler: &H,
    _limits: &Limits,
    _drain: &Drain,
) -> Result<Outcome, Failure> {
    todo!()
}
