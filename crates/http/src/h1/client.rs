//! The client side of an HTTP/1 connection: a head out, heads in, and whether it can be used again.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use sidering_net::Stream;
use tokio::io::ReadBuf;

use super::connection::{Asked, Connection};
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::read;
use super::write;
use crate::{Failure, Length, Malformed, Phase, Progress, RequestHead, ResponseHead};

/// A server that goes on telling that it works is cut off: 16 informational heads are more than any use has.
const INFORMATIONAL_MAX: u64 = 16;

impl<S: Stream> Connection<S> {
    /// Ready once an idle connection can no longer be used.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.input.is_empty() && self.broken().is_none() {
            // One byte is enough to know: nobody asked for any.
            let mut byte = [0];
            let _ = ready!(Pin::new(&mut self.io).poll_read(cx, &mut ReadBuf::new(&mut byte)));
            self.note_closed();
        }
        Poll::Ready(())
    }

    /// Queues the head of a request and begins its exchange.
    pub(crate) fn start(&mut self, head: &RequestHead, length: Length) {
        // Whatever came unasked must not pass for the response to this request.
        let _ = self.poll_closed(&mut Context::from_waker(Waker::noop()));
        self.exchange += 1;
        self.asked =
            Asked { head: head.method == http::Method::HEAD, websocket: head.websocket, ..Asked::default() };
        self.keep_alive = true;
        (self.sent, self.received, self.informational) = (0, 0, 0);
        self.decoder = Decoder::waiting();
        let (encoder, framing) = Encoder::request(length);
        self.encoder = encoder;
        write::request(self.output.end(), head, framing);
    }

    /// The next head of the response.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        // A server may answer and then stop reading: what it said counts more than that it did not listen.
        if let Poll::Ready(Err(failure @ Failure::Closed)) = self.poll_flush(cx) {
            return Poll::Ready(Err(failure));
        }
        if self.upgraded || !self.decoder.is_waiting() {
            return Poll::Ready(Err(Failure::Aborted));
        }
        if self.is_held() && self.sent == 0 {
            // What comes before a byte of the request has left is no answer to it.
            ready!(self.poll_closed(cx));
            // From here on nothing held leaves either.
            self.note_closed();
            return Poll::Ready(Err(Failure::Closed));
        }
        loop {
            let asked = self.asked;
            match read::response(&mut self.input, &mut self.scan, &self.limits, asked.head, asked.websocket) {
                Ok(Some((head, framing))) => {
                    self.reading.rest();
                    return Poll::Ready(self.received_head(&head, &framing).map(|()| head).map_err(|why| {
                        self.refuse(why);
                        why.into()
                    }));
                }
                Ok(None) => {}
                Err(why) => {
                    self.refuse(why);
                    return Poll::Ready(Err(why.into()));
                }
            }
            let begun = !self.input.is_empty();
            let limit = if begun { self.limits.head } else { std::time::Duration::MAX };
            let failure = match ready!(self.poll_fill(limit, Phase::Head, cx)) {
                Ok(true) => {
                    if !begun {
                        self.reading.rest();
                    }
                    continue;
                }
                Ok(false) if self.received == 0 => Failure::Closed,
                Ok(false) => Failure::Truncated,
                Err(failure) => failure,
            };
            self.give_up_reading();
            return Poll::Ready(Err(failure));
        }
    }

    fn received_head(
        &mut self,
        head: &ResponseHead,
        framing: &read::ResponseFraming,
    ) -> Result<(), Malformed> {
        match head.status {
            101 => {
                self.upgraded = true;
                self.keep_alive = false;
            }
            100..=199 => {
                self.informational += 1;
                if self.informational > INFORMATIONAL_MAX {
                    return Err(Malformed::Informational);
                }
            }
            _ => {
                self.keep_alive &= framing.keep_alive;
                self.decoder = Decoder::new(framing.length, framing.has_body, framing.chunked);
            }
        }
        Ok(())
    }

    /// Ends an exchange; whether another may follow.
    pub(crate) fn conclude_exchange(&mut self) -> bool {
        let reusable = self.keep_alive && self.is_ended() && self.is_finished() && self.input.is_empty();
        self.release();
        reusable
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress { sent: self.sent, received: self.received }
    }
}
