//! [`TlsStream`]: moves a session's bytes over any stream. Holds no buffer while idle; what the socket refused is kept
//! and always leaves before anything newer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sidering_net::{Stream, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::{Session, Taken};
use crate::{Failure, scratch};

/// Plaintext sealed per write: four records.
const SEAL_LIMIT: usize = 64 * 1024;

/// What may be owed to the socket: one sealed write with room for what reading causes. A peer that floods key updates
/// and never reads is closed here.
const REFUSED_LIMIT: usize = 2 * SEAL_LIMIT;

/// A stream of plaintext over TLS over `S`.
///
/// A write is taken as soon as it is sealed: flush before sleeping, or the last bytes may stay. Shutdown sends
/// `close_notify`, then shuts the stream below. An end without `close_notify` is an error
/// ([`io::ErrorKind::UnexpectedEof`] with [`Failure::Truncated`] inside).
pub struct TlsStream<S> {
    io: S,
    session: Session,
    refused: Refused,
    sent_close: bool,
}

/// Sealed bytes the socket did not take; unallocated while there are none.
#[derive(Default)]
struct Refused {
    bytes: Vec<u8>,
    sent: usize,
}

impl<S: Stream> TlsStream<S> {
    pub(crate) fn new(io: S, session: Session) -> Self {
        Self { io, session, refused: Refused::default(), sent_close: false }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Ready once the handshake is over; its last flight may still be owed to the socket.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while self.session.is_handshaking() {
            let _ = self.poll_owed(cx)?;
            ready!(self.poll_feed(cx))?;
        }
        let _ = self.poll_owed(cx)?;
        Poll::Ready(Ok(()))
    }

    /// A client speaks first.
    pub(crate) fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        scratch::with(|buffers| {
            self.session.feed(&[], &mut buffers.wire)?;
            Poll::Ready(Ok(self.offer(cx, &buffers.wire)?))
        })
    }

    /// After a failure: sends what is owed (the alert), then FIN, and waits for the peer to read it. Closing with
    /// unread bytes would make the kernel send RST, which may overtake the alert.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>, unread: &mut usize) -> Poll<io::Result<()>> {
        ready!(self.poll_owed(cx))?;
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        while *unread > 0 {
            let count = ready!(scratch::with(|buffers| poll_fill(&mut self.io, cx, &mut buffers.cipher)))?;
            *unread = if count == 0 { 0 } else { unread.saturating_sub(count) };
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when nothing is owed to the socket.
    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refused.is_empty() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, self.refused.pending()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.refused.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// As `poll_refused`, and the stream below owes nothing either.
    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refused(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Sends `wire`, never past older refused bytes, and keeps what is refused.
    fn offer(&mut self, cx: &mut Context<'_>, wire: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while self.refused.is_empty() && sent < wire.len() {
            match Pin::new(&mut self.io).poll_write(cx, &wire[sent..])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => sent += count,
                Poll::Pending => break,
            }
        }
        self.refused.keep(&wire[sent..])
    }

    /// Reads once from the socket into the session.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        scratch::with(|buffers| {
            let count = ready!(poll_fill(&mut self.io, cx, &mut buffers.cipher))?;
            if count == 0 {
                return Poll::Ready(Err(Failure::Truncated));
            }
            let outcome = self.session.feed(&buffers.cipher[..count], &mut buffers.wire);
            // Tickets and key updates, or the alert. Why we failed matters more than whether the alert could be sent.
            let offered = self.offer(cx, &buffers.wire);
            outcome?;
            Poll::Ready(Ok(offered?))
        })
    }

    fn take_plaintext(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Result<Taken, Failure> {
        scratch::with(|buffers| {
            let taken = self.session.take_plaintext(buf, &mut buffers.wire);
            let offered = self.offer(cx, &buffers.wire);
            let taken = taken?;
            offered?;
            Ok(taken)
        })
    }

    /// Seals the slices as one. At most one write is ever owed: that is the backpressure.
    fn poll_seal(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.sent_close {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_refused(cx))?;
        scratch::with(|buffers| {
            let plain = joined(slices, &mut buffers.plain);
            self.session.seal(plain, &mut buffers.wire)?;
            let taken = plain.len();
            self.offer(cx, &buffers.wire)?;
            Poll::Ready(Ok(taken))
        })
    }
}

/// The first [`SEAL_LIMIT`] bytes of the slices; copied only if more than one has any.
fn joined<'a>(slices: &'a [IoSlice<'_>], copy: &'a mut Vec<u8>) -> &'a [u8] {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    match (filled.next(), filled.next()) {
        (None, _) => &[],
        (Some(only), None) => &only[..only.len().min(SEAL_LIMIT)],
        (Some(_), Some(_)) => {
            for slice in slices {
                copy.extend_from_slice(&slice[..slice.len().min(SEAL_LIMIT - copy.len())]);
            }
            copy
        }
    }
}

fn poll_fill<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(into);
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

impl<S: Stream> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while me.take_plaintext(cx, buf)? == Taken::Nothing {
            // Owed because of reading, so it leaves although nobody writes.
            let _ = me.poll_owed(cx)?;
            ready!(me.poll_feed(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, plain: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_seal(cx, &[IoSlice::new(plain)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_seal(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_owed(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if !me.sent_close {
            me.sent_close = true;
            scratch::with(|buffers| {
                me.session.close(&mut buffers.wire);
                me.offer(cx, &buffers.wire)
            })?;
        }
        ready!(me.poll_owed(cx))?;
        Pin::new(&mut me.io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }

    /// Without close_notify: the peer must not take what it has for the whole.
    fn reset(&mut self) {
        self.io.reset();
    }
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn keep(&mut self, wire: &[u8]) -> io::Result<()> {
        if wire.is_empty() {
            return Ok(());
        }
        if self.bytes.len() - self.sent + wire.len() > REFUSED_LIMIT {
            return Err(io::Error::other("the peer makes us answer and does not read"));
        }
        self.bytes.drain(..self.sent);
        self.sent = 0;
        self.bytes.extend_from_slice(wire);
        Ok(())
    }
}
