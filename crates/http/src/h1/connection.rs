//! What both sides of an HTTP/1 connection share: the stream, what was read and not yet used, what is still to be
//! written, and the two bodies under way. `server` and `client` beside it add heads and the order of things.

use std::cell::RefCell;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sidering_net::{Held, Scratch, Stream, hold};
use tokio::io::ReadBuf;

use super::chunked::Piece;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::output::Output;
use super::read::Scan;
use crate::patience::Patience;
use crate::{Failure, Headers, Length, Limits, Malformed, Phase};

/// A connection and all who drive it: the two halves of an exchange, on one core.
pub(crate) type Shared<S> = Rc<Cell<S>>;

/// Where a connection lives.
pub(crate) struct Cell<S>(RefCell<Connection<S>>);

impl<S> Deref for Cell<S> {
    type Target = RefCell<Connection<S>>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<S: Stream> Held for Cell<S> {
    fn release(&self) {
        self.borrow_mut().release_held();
    }
}

/// An HTTP/1 connection.
pub(crate) struct Connection<S> {
    pub(super) io: S,
    pub(super) limits: Limits,
    /// Read and not yet used; no allocation while empty and idle.
    pub(super) input: BytesMut,
    pub(super) scan: Scan,
    pub(super) decoder: Decoder,
    pub(super) output: Output,
    pub(super) encoder: Encoder,
    /// What the request of this exchange asked.
    pub(super) asked: Asked,
    /// Whether the connection may be used after this exchange.
    pub(super) keep_alive: bool,
    /// Left HTTP by 101.
    pub(super) upgraded: bool,
    /// The first rule that the peer broke.
    pub(super) malformed: Option<Malformed>,
    /// Why nothing can be written any more.
    broken: Option<Broken>,
    /// Bytes of this exchange.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Informational responses of this exchange.
    pub(super) informational: u64,
    /// Counts exchanges, so that a body kept too long is told from the current one.
    pub(super) exchange: u64,
    pub(super) reading: Patience,
    writing: Patience,
    /// Itself, for whoever ends the round.
    me: Weak<dyn Held>,
    /// What is queued leaves at the end of the round; who is to know if it cannot.
    held: Option<Waker>,
    /// The stream did not take all of what was queued.
    stuck: bool,
}

/// What a request asked, as far as its response depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// By HEAD.
    pub(super) head: bool,
    /// By HTTP/1.0.
    pub(super) http10: bool,
    /// For an upgrade.
    pub(super) websocket: bool,
    /// With Expect: the body may never come.
    pub(super) expects: bool,
}

#[derive(Clone, Copy, Debug)]
enum Broken {
    /// The peer closed, or spoke unasked, while the connection was idle.
    Closed,
    Io(io::ErrorKind),
    TimedOut,
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => Failure::Closed,
            Broken::Io(kind) => Failure::Io(kind.into()),
            Broken::TimedOut => Failure::TimedOut(Phase::Write),
        }
    }
}

impl<S: Stream> Connection<S> {
    pub(crate) fn shared(io: S, limits: &Limits) -> Shared<S>
    where
        S: 'static,
    {
        Rc::new_cyclic(|me: &Weak<Cell<S>>| Cell(RefCell::new(Self::new(io, limits, me.clone()))))
    }

    fn new(io: S, limits: &Limits, me: Weak<dyn Held>) -> Self {
        Self {
            io,
            limits: *limits,
            input: BytesMut::new(),
            scan: Scan::default(),
            decoder: Decoder::waiting(),
            output: Output::default(),
            encoder: Encoder::waiting(),
            asked: Asked::default(),
            keep_alive: true,
            upgraded: false,
            malformed: None,
            broken: None,
            sent: 0,
            received: 0,
            informational: 0,
            exchange: 0,
            reading: Patience::default(),
            writing: Patience::default(),
            me,
            held: None,
            stuck: false,
        }
    }

    /// Reads once; false at the end of the stream.
    pub(super) fn poll_fill(
        &mut self,
        limit: Duration,
        phase: Phase,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Failure>> {
        let mut scratch = Scratch::take();
        let Poll::Ready(bytes) = scratch.poll_fill(&mut self.io, cx) else {
            return self.reading.poll_over(limit, cx).map(|()| Err(Failure::TimedOut(phase)));
        };
        let bytes = bytes?;
        if self.input.is_empty() && !self.input.try_reclaim(bytes.len()) {
            self.input = BytesMut::with_capacity(bytes.len());
        }
        self.input.extend_from_slice(bytes);
        self.received += bytes.len() as u64;
        Poll::Ready(Ok(!bytes.is_empty()))
    }

    /// The next piece of the body being received. Reads only while no piece is at hand.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            if self.decoder.is_dead() {
                return Poll::Ready(Some(Err(Failure::Aborted)));
            }
            match self.decoder.next(&mut self.input, &self.limits) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Incomplete) => {}
                Err(why) => {
                    self.refuse(why);
                    return Poll::Ready(Some(Err(why.into())));
                }
            }
            let failure = match ready!(self.poll_fill(self.limits.body, Phase::Read, cx)) {
                Ok(true) => {
                    self.reading.rest();
                    continue;
                }
                Ok(false) if self.decoder.end_of_input() => {
                    self.keep_alive = false;
                    return Poll::Ready(None);
                }
                Ok(false) => Failure::Truncated,
                Err(failure) => failure,
            };
            self.give_up_reading();
            return Poll::Ready(Some(Err(failure)));
        }
    }

    /// Ready once the peer closed, as far as that shows while its message is complete. Reads ahead at most once.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.decoder.is_ended() || !self.input.is_empty() {
            return Poll::Pending;
        }
        let read = self.poll_fill(Duration::MAX, Phase::Read, cx);
        self.reading.rest();
        match ready!(read) {
            Ok(true) => Poll::Pending,
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    }

    /// The peer broke a rule: nothing more of what it sends has a meaning.
    pub(super) fn refuse(&mut self, why: Malformed) {
        self.malformed.get_or_insert(why);
        self.give_up_reading();
    }

    pub(super) fn give_up_reading(&mut self) {
        self.decoder.fail();
        self.keep_alive = false;
        self.reading.rest();
    }

    /// Ready when another piece may be written.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.output.has_room() && self.broken.is_none() {
            return Poll::Ready(self.fitting());
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.fitting())
    }

    pub(crate) fn write(&mut self, data: Bytes) {
        self.encoder.write(data, &mut self.output);
    }

    /// Ready when all that was queued is with the stream, or is little and leaves with that of others at the end of the
    /// round. If it then cannot, the task is woken, and the next to ask learns of it.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.holds(cx) { Poll::Ready(Ok(())) } else { self.poll_flush_now(cx) }
    }

    fn holds(&mut self, cx: &Context<'_>) -> bool {
        let little = !self.output.is_empty() && self.output.has_room();
        if !little || self.stuck || self.broken.is_some() {
            return false;
        }
        if self.held.is_none() && self.me.upgrade().is_some_and(hold) {
            self.held = Some(cx.waker().clone());
        }
        self.held.is_some()
    }

    fn release_held(&mut self) {
        let Some(waker) = self.held.take() else { return };
        match self.poll_flush_now(&mut Context::from_waker(&waker)) {
            // The task may be at rest until the next request.
            Poll::Ready(Ok(())) => self.output.release(),
            Poll::Ready(Err(_)) => waker.wake(),
            Poll::Pending => {}
        }
    }

    /// Whether something waits for the end of the round.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Ready when all that was queued is with the stream.
    pub(super) fn poll_flush_now(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Some(broken) = self.broken {
            return Poll::Ready(Err(broken.into()));
        }
        let before = self.sent;
        let mut step = self.output.poll_write(&mut self.io, &mut self.sent, cx);
        if self.sent > before {
            self.writing.rest();
        }
        self.stuck = !self.output.is_empty();
        if !self.stuck {
            self.held = None;
        }
        if matches!(step, Poll::Ready(Ok(()))) {
            step = Pin::new(&mut self.io).poll_flush(cx);
        }
        let (broken, failure) = match step {
            Poll::Ready(Ok(())) => {
                self.writing.rest();
                return Poll::Ready(Ok(()));
            }
            // The error itself is told once: a layer below may have put its own reason into it.
            Poll::Ready(Err(error)) => (Broken::Io(error.kind()), error.into()),
            Poll::Pending => {
                ready!(self.writing.poll_over(self.limits.body, cx));
                (Broken::TimedOut, Broken::TimedOut.into())
            }
        };
        self.keep_alive = false;
        self.broken = Some(broken);
        Poll::Ready(Err(failure))
    }

    /// Queues the end of the body being sent; ready when all of it is with the stream.
    pub(crate) fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &Headers,
    ) -> Poll<Result<(), Failure>> {
        if !self.encoder.is_ended() {
            self.encoder.end(trailers, self.output.end());
            self.fitting()?;
        }
        self.poll_flush(cx)
    }

    /// Whether something was queued that has not left, or never will.
    pub(super) fn owes(&self) -> bool {
        !self.output.is_empty() || self.broken.is_some()
    }

    /// The connection, idle so far, is of no use any more.
    pub(super) fn note_closed(&mut self) {
        self.broken.get_or_insert(Broken::Closed);
    }

    /// Why nothing can be written any more.
    pub(crate) fn broken(&self) -> Option<Failure> {
        self.broken.map(Failure::from)
    }

    fn fitting(&self) -> Result<(), Failure> {
        if self.encoder.is_wrong() { Err(Failure::BodyLength) } else { Ok(()) }
    }

    /// Whether the whole message was queued and nothing of it is left here.
    pub(crate) fn is_finished(&self) -> bool {
        self.encoder.is_ended() && self.output.is_empty() && self.broken.is_none()
    }

    pub(crate) fn written(&self) -> u64 {
        self.encoder.written
    }

    pub(crate) fn length(&self) -> Length {
        self.decoder.length
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.decoder.is_ended()
    }

    pub(crate) fn trailers(&self) -> Headers {
        self.decoder.trailers.clone()
    }

    pub(crate) fn exchange(&self) -> u64 {
        self.exchange
    }

    /// Gives back the memory of an idle connection.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.output.release();
        self.decoder.trailers = Headers::new();
    }

    /// Reads bytes of a tunnel: first what was read before it became one.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let taken = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input.split_to(taken));
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Writes bytes of a tunnel, after what was queued before it became one.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_queued(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    pub(crate) fn poll_flush_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_queued(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Ends the sending direction, after what is queued.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_queued(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_queued(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.output.poll_write(&mut self.io, &mut self.sent, cx))?;
        self.output.release();
        Poll::Ready(Ok(()))
    }

    /// Lets the peer see that this is no end.
    pub(crate) fn reset(&mut self) {
        self.io.reset();
    }
}

#[cfg(test)]
mod tests;
