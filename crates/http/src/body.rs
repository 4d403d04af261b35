//! Bodies, the same type for requests and responses, server and client, and every version: `Body` is read,
//! `BodyWriter` written. Both are driven by polling, so that one `poll_fn` can move both directions of an exchange.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use bytes::Bytes;
use sidering_net::Stream;

use crate::{Done, Failure, Headers, Length};

/// A body being received.
pub struct Body<S> {
    _todo: PhantomData<S>,
}

impl<S: Stream> Body<S> {
    /// How long it is, as announced. Of a client exchange: known once the final head arrived.
    pub fn length(&self) -> Length {
        todo!()
    }

    /// Whether nothing more will come; the trailers are complete then.
    pub fn is_ended(&self) -> bool {
        todo!()
    }

    /// The next piece, at most 64 KiB; `None` at the end. The stream is only read while nothing is at hand, so a
    /// caller that does not ask bounds what the peer can send.
    ///
    /// # Errors
    /// Malformed chunks, truncation, no progress in time, a failed stream. Nothing follows an error.
    pub fn poll_data(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        todo!()
    }

    /// The trailers, once `poll_data` returned `None`; empty if there were none. Those that frame, route or
    /// authenticate a message are dropped (RFC 9110, 6.5.1).
    pub fn trailers(&self) -> Headers {
        todo!()
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
    _todo: PhantomData<(S, Of)>,
}

impl<S: Stream, Of> BodyWriter<S, Of> {
    /// Ready when `write` may be called once: what is queued is below its cap. This is the backpressure.
    ///
    /// # Errors
    /// A failed stream, no progress in time, more data than announced. For a request this does not end the exchange:
    /// the server may have answered before it closed, so ask for the response still.
    pub fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        todo!()
    }

    /// Queues a piece. Dropped silently where the message cannot have a body (HEAD, 204, 304). More than was
    /// announced is an error at the next poll, and none of the excess is sent.
    pub fn write(&mut self, _data: Bytes) {
        todo!()
    }

    /// Ready when all that was queued is with the stream.
    ///
    /// # Errors
    /// As `poll_ready`.
    pub fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        todo!()
    }

    /// Ends the body; ready when all of the message is with the stream. May be called again after that. Trailers go
    /// out where the framing has a place for them.
    ///
    /// # Errors
    /// As `poll_ready`; [`Failure::BodyLength`] if less was written than announced.
    pub fn poll_finish(&mut self, _cx: &mut Context<'_>, _trailers: &Headers) -> Poll<Result<(), Failure>> {
        todo!()
    }

    /// Whether `poll_finish` was ready without error.
    pub fn is_finished(&self) -> bool {
        todo!()
    }

    /// Body bytes queued so far.
    pub fn written(&self) -> u64 {
        todo!()
    }
}

impl<S: Stream> BodyWriter<S, Response> {
    /// Ends the exchange. If the body was not finished it is aborted: the connection closes in a way that the peer
    /// cannot take for the end of the body.
    pub fn done(self) -> Done {
        todo!()
    }

    /// Writes what is left, ends the body and the exchange. For handlers that have nothing else to drive.
    pub async fn finish(mut self, trailers: &Headers) -> Done {
        let _ = std::future::poll_fn(|cx| self.poll_finish(cx, trailers)).await;
        self.done()
    }
}
