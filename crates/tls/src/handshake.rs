//! Drives a session over a stream until both sides agree or one fails. Every await is under the caller's deadline.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use sidering_net::{Stream, deadline as within, now};
use tokio::io::AsyncWriteExt;

use crate::session::Session;
use crate::{ClientConfig, Failure, Handshake, ServerConfig, TlsStream};

/// How long, and for how many bytes, a connection that failed is kept so that the peer can read the alert.
const PARTING: Duration = Duration::from_millis(500);
const PARTING_BYTES: usize = 256 * 1024;

/// Answers a client. `offered_alpn` is what its hello offers (see [`inspect`](crate::inspect)); where nothing overlaps
/// with the configuration no protocol is selected and the handshake goes on.
///
/// # Errors
/// [`Failure`]; the alert, if one is due, has then been sent.
pub async fn accept<S: Stream>(
    io: S,
    config: &ServerConfig,
    offered_alpn: &[Box<str>],
    deadline: Instant,
) -> Result<(TlsStream<S>, Handshake), Failure> {
    let stream = TlsStream::new(io, Session::server(config, offered_alpn)?);
    agree(stream, deadline).await
}

/// Greets a server. Without `server_name` no SNI is sent.
///
/// # Errors
/// [`Failure`]; the alert, if one is due, has then been sent.
pub async fn connect<S: Stream>(
    io: S,
    config: &ClientConfig,
    server_name: Option<&str>,
    deadline: Instant,
) -> Result<(TlsStream<S>, Handshake), Failure> {
    let mut stream = TlsStream::new(io, Session::client(config, server_name)?);
    poll_fn(|cx| stream.poll_start(cx)).await?;
    let (mut stream, handshake) = agree(stream, deadline).await?;
    // The server waits for our last flight, and who waits for the server to speak first would never write again.
    match within(deadline, stream.flush()).await {
        Err(_elapsed) => Err(Failure::TimedOut),
        Ok(flushed) => flushed.map(|()| (stream, handshake)).map_err(Failure::Io),
    }
}

async fn agree<S: Stream>(
    mut stream: TlsStream<S>,
    deadline: Instant,
) -> Result<(TlsStream<S>, Handshake), Failure> {
    match within(deadline, poll_fn(|cx| stream.poll_handshake(cx))).await {
        Err(_elapsed) => Err(Failure::TimedOut),
        Ok(Err(failure)) => Err(part(stream, failure, deadline).await),
        Ok(Ok(())) => match stream.session().agreed() {
            Ok(handshake) => Ok((stream, handshake)),
            Err(failure) => Err(part(stream, failure, deadline).await),
        },
    }
}

async fn part<S: Stream>(mut stream: TlsStream<S>, failure: Failure, deadline: Instant) -> Failure {
    if !matches!(failure, Failure::Io(_) | Failure::Truncated) {
        let mut unread = PARTING_BYTES;
        // However the parting goes, the first failure is the answer.
        let _ = within(deadline.min(now() + PARTING), poll_fn(|cx| stream.poll_part(cx, &mut unread))).await;
    }
    failure
}
