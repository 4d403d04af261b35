//! Bodies, the same type for requests and responses, server and client, and every version: `Body` is read,
//! `BodyWriter` written. Both are driven by polling, so that one `poll_fn` can move both directions of an exchange.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use bytes::Bytes;
use sidering_net::Stream;

use crate::h1::Shared;
use crate::{Done, Failure, Headers, Length};

/// A body being received.
pub struct Body<S> {
    connection: Shared<S>,
    exchange: u64,
}

impl<S: Stream> Body<S> {
    /// The body of the connection's current exchange.
    pub(crate) fn new(connection: Shared<S>) -> Self {
        let exchange = connection.borrow().exchange();
        Self { connection, exchange }
    }

    /// How long it is, as announced. Of a client exchange: known once the final head arrived.
    pub fn length(&self) -> Length {
        self.connection.borrow().length()
    }

    /// Whether nothing more will come; the trailers are complete then.
    pub fn is_ended(&self) -> bool {
        self.connection.borrow().is_ended()
    }

    /// The next piece, at most 64 KiB; `None` at the end. The stream is only read while nothing is at hand, so a
    /// caller that does not ask bounds what the peer can send.
    ///
    /// # Errors
    /// Malformed chunks, truncation, no progress in time, a failed stream. Nothing follows an error.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let mut connection = self.connection.borrow_mut();
        if connection.exchange() != self.exchange {
            return Poll::Ready(Some(Err(Failure::Aborted)));
        }
        connection.poll_data(cx)
    }

    /// Ready once the peer closed although it is owed the other half of the exchange. It shows only once this body is
    /// complete, and not behind a request that was sent ahead; a peer that merely ended its sending direction looks
    /// the same.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut connection = self.connection.borrow_mut();
        if connection.exchange() == self.exchange { connection.poll_gone(cx) } else { Poll::Pending }
    }

    /// The trailers, once `poll_data` returned `None`; empty if there were none. Those that frame, route or
    /// authenticate a message are dropped (RFC 9110, 6.5.1).
    pub fn trailers(&self) -> Headers {
        self.connection.borrow().trailers()
    }
}

/// Marks a writer of a request's body.
#[derive(Debug)]
pub enum Request {}

/// Marks a writer of a response's body.
#[derive(Debug)]
pub enum Response {}

/// A body being sent. Write as follows: `poll_ready`, `write`, and `poll_flush` before sleeping, since small pieces
/// (and the head) wait to leave in one system call; then `poll_finish`.
pub struct BodyWriter<S, Of = Response> {
    connection: Shared<S>,
    of: PhantomData<Of>,
}

impl<S: Stream, Of> BodyWriter<S, Of> {
    /// The body whose head was just queued.
    pub(crate) fn new(connection: Shared<S>) -> Self {
        Self { connection, of: PhantomData }
    }

    /// Ready when `write` may be called once: what is queued is below its cap. This is the backpressure.
    ///
    /// # Errors
    /// A failed stream, no progress in time, more data than announced. For a request this does not end the exchange:
    /// the server may have answered before it closed, so ask for the response still.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.connection.borrow_mut().poll_room(cx)
    }

    /// Queues a piece. Dropped silently where the message cannot have a body (HEAD, 204, 304). More than was
    /// announced is an error at the next poll, and none of the excess is sent.
    pub fn write(&mut self, data: Bytes) {
        self.connection.borrow_mut().write(data);
    }

    /// Ready when all that was queued is with the stream, or is little and leaves with what others write in this turn of
    /// the core.
    ///
    /// # Errors
    /// As `poll_ready`.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.connection.borrow_mut().poll_flush(cx)
    }

    /// Ends the body; ready when all of the message is with the stream, or is little and leaves with what others write
    /// in this turn of the core: see [`is_finished`](Self::is_finished). May be called again after that. Trailers go
    /// out where the framing has a place for them.
    ///
    /// # Errors
    /// As `poll_ready`; [`Failure::BodyLength`] if less was written than announced.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Headers) -> Poll<Result<(), Failure>> {
        self.connection.borrow_mut().poll_finish(cx, trailers)
    }

    /// Whether `poll_finish` was ready without error and all of it is with the stream. While it is not, `poll_finish` is
    /// to be asked again whenever the task runs.
    pub fn is_finished(&self) -> bool {
        self.connection.borrow().is_finished()
    }

    /// Body bytes queued so far.
    pub fn written(&self) -> u64 {
        self.connection.borrow().written()
    }
}

impl<S: Stream> BodyWriter<S, Response> {
    /// Ends the exchange; what is still queued is sent. If the body is not complete it is aborted: the connection
    /// closes in a way that the peer cannot take for the end of the body.
    pub fn done(self) -> Done {
        Done(())
    }

    /// Writes what is left, ends the body and the exchange. For handlers that have nothing else to drive.
    pub async fn finish(mut self, trailers: &Headers) -> Done {
        let _ = std::future::poll_fn(|cx| self.poll_finish(cx, trailers)).await;
        self.done()
    }
}
