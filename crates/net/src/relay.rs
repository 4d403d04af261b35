//! The byte pump: everything from each of two streams to the other, until both have ended. Knows no protocol.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::splice::Splice;
use crate::{Idle, Scratch, Stream, later, now};

/// Bytes moved in one turn before the rest of the core has its own, so that one bulk flow cannot starve it.
const TURN_BUDGET: usize = 256 * 1024;

/// Bytes moved so far; readable while the relay runs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes from `a` that `b` took.
    pub forward: Cell<u64>,
    /// Bytes from `b` that `a` took.
    pub backward: Cell<u64>,
}

/// Is told of bytes as they move.
pub trait Meter {
    /// So many bytes from `a` were taken by `b`.
    fn forward(&self, bytes: u64);
    /// So many bytes from `b` were taken by `a`.
    fn backward(&self, bytes: u64);
}

impl Meter for Counters {
    fn forward(&self, bytes: u64) {
        self.forward.set(self.forward.get() + bytes);
    }

    fn backward(&self, bytes: u64) {
        self.backward.set(self.backward.get() + bytes);
    }
}

/// Why a relay ended otherwise than by both ends closing.
#[derive(Debug, thiserror::Error)]
pub enum RelayFailure {
    /// `a`, the first stream, failed.
    #[error("downstream: {0}")]
    A(io::Error),
    /// `b`, the second stream, failed.
    #[error("upstream: {0}")]
    B(io::Error),
    /// Nothing moved for the idle limit.
    #[error("idle for too long")]
    Idle,
}

/// Copies both ways until both have ended; an end on one side is passed on as an end (half-close). After an error
/// on either side both are reset: which direction learns of a peer's reset is not portable, and the direction
/// that did not must not pass its silence on as a clean end. So they are if the future is dropped before its end.
///
/// # Errors
/// The first failure of either stream, or idleness.
pub async fn relay<A: Stream, B: Stream>(
    a: &mut A,
    b: &mut B,
    idle: Option<Duration>,
    meter: &impl Meter,
) -> Result<(), RelayFailure> {
    let mut idle = idle.map(Idle::new);
    let (mut forward, mut backward) = (Half::default(), Half::default());
    let mut ends = Ends { a, b, well: false };
    let ended = poll_fn(|cx| {
        let Ends { a, b, .. } = &mut ends;
        let forth = forward.poll_pump(a, b, cx, &|bytes| meter.forward(bytes));
        let back = backward.poll_pump(b, a, cx, &|bytes| meter.backward(bytes));
        match (forth, back) {
            (Poll::Ready(Err(end)), _) => Poll::Ready(Err(end.forward())),
            (_, Poll::Ready(Err(end))) => Poll::Ready(Err(end.backward())),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => {
                let moved = std::mem::take(&mut forward.moved) | std::mem::take(&mut backward.moved);
                let Some(idle) = &mut idle else { return Poll::Pending };
                if moved {
                    idle.touch(now());
                }
                idle.poll_expired(cx).map(|()| Err(RelayFailure::Idle))
            }
        }
    })
    .await;
    ends.well = ended.is_ok();
    ended
}

/// Both sides: reset unless they have ended well.
struct Ends<'a, A: Stream, B: Stream> {
    a: &'a mut A,
    b: &'a mut B,
    well: bool,
}

impl<A: Stream, B: Stream> Drop for Ends<'_, A, B> {
    fn drop(&mut self) {
        if !self.well {
            self.a.reset();
            self.b.reset();
        }
    }
}

/// One direction.
#[derive(Default)]
struct Half {
    state: State,
    /// What the sink refused; while there is any, the source is not read.
    refused: Vec<u8>,
    /// How much of `refused` has gone since.
    sent: usize,
    splice: Splice,
    /// Whether bytes moved since the relay last looked.
    moved: bool,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The source has ended; the sink is to be told.
    Ending,
    Done,
}

/// Which end of a direction failed.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl Broken {
    fn forward(self) -> RelayFailure {
        match self {
            Self::Source(error) => RelayFailure::A(error),
            Self::Sink(error) => RelayFailure::B(error),
        }
    }

    fn backward(self) -> RelayFailure {
        match self {
            Self::Source(error) => RelayFailure::B(error),
            Self::Sink(error) => RelayFailure::A(error),
        }
    }
}

impl Half {
    fn poll_pump<A: Stream, B: Stream>(
        &mut self,
        source: &mut A,
        sink: &mut B,
        cx: &mut Context<'_>,
        count: &dyn Fn(u64),
    ) -> Poll<Result<(), Broken>> {
        if self.state == State::Done {
            return Poll::Ready(Ok(()));
        }
        let mut budget = TURN_BUDGET;
        loop {
            ready!(self.poll_spliced(sink, cx, count)).map_err(Broken::Sink)?;
            ready!(self.poll_refused(sink, cx, count)).map_err(Broken::Sink)?;
            if self.state == State::Ending {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(Broken::Sink)?;
                self.state = State::Done;
                return Poll::Ready(Ok(()));
            }
            if budget == 0 {
                later(cx.waker());
                return Poll::Pending;
            }
            let spliced = self.splice_some(source, sink, cx).map_err(Broken::Source)?;
            if spliced > 0 {
                budget = budget.saturating_sub(spliced);
                continue;
            }
            let mut scratch = Scratch::take();
            let Poll::Ready(filled) = scratch.poll_fill(source, cx) else {
                // Before every sleep, else what a layer has sealed stays with it.
                ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(Broken::Sink)?;
                return Poll::Pending;
            };
            let bytes = filled.map_err(Broken::Source)?;
            if bytes.is_empty() {
                self.state = State::Ending;
                continue;
            }
            budget = budget.saturating_sub(bytes.len());
            self.splice.note(bytes.len());
            self.write_or_keep(sink, cx, bytes, count).map_err(Broken::Sink)?;
        }
    }

    /// Between sockets with nothing on top of them.
    fn splice_some<A: Stream, B: Stream>(
        &mut self,
        source: &A,
        sink: &B,
        cx: &mut Context<'_>,
    ) -> io::Result<usize> {
        match (source.as_tcp(), sink.as_tcp()) {
            (Some(source), Some(_)) => self.splice.fill(source, cx),
            _ => Ok(0),
        }
    }

    fn poll_spliced<B: Stream>(
        &mut self,
        sink: &B,
        cx: &mut Context<'_>,
        count: &dyn Fn(u64),
    ) -> Poll<io::Result<()>> {
        while self.splice.holds() {
            // It was a socket when the pipe was filled.
            let tcp = sink.as_tcp().ok_or(io::ErrorKind::Unsupported)?;
            let sent = ready!(self.splice.poll_drain(tcp, cx))?;
            self.note(sent, count)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_refused<B: Stream>(
        &mut self,
        sink: &mut B,
        cx: &mut Context<'_>,
        count: &dyn Fn(u64),
    ) -> Poll<io::Result<()>> {
        while self.sent < self.refused.len() {
            let sent = ready!(Pin::new(&mut *sink).poll_write(cx, &self.refused[self.sent..]))?;
            self.sent += self.note(sent, count)?;
        }
        if self.sent > 0 {
            // An idle direction owns no memory.
            (self.refused, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn write_or_keep<B: Stream>(
        &mut self,
        sink: &mut B,
        cx: &mut Context<'_>,
        bytes: &[u8],
        count: &dyn Fn(u64),
    ) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            match Pin::new(&mut *sink).poll_write(cx, &bytes[sent..]) {
                Poll::Ready(taken) => sent += self.note(taken?, count)?,
                Poll::Pending => break,
            }
        }
        self.refused.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// A sink that takes nothing of something is broken: trying again would spin.
    fn note(&mut self, sent: usize, count: &dyn Fn(u64)) -> io::Result<usize> {
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.moved = true;
        count(sent as u64);
        Ok(sent)
    }
}
