//! The client side of a connection, whatever its version: a `Client` starts one `Exchange` at a time and comes back
//! from it if the connection can be used again. Pools keep `Client`s.

use std::task::{Context, Poll, Waker};

use sidering_net::Stream;

use crate::h1::{self, Shared};
use crate::{Body, BodyWriter, Failure, Length, Limits, Request, RequestHead, ResponseHead, Upgraded};

/// A connection to a server, between two exchanges.
pub struct Client<S> {
    connection: Shared<S>,
}

impl<S: Stream> Client<S> {
    /// Speaks HTTP/1.1 over `io`. No byte is sent yet.
    pub fn http1(io: S, limits: &Limits) -> Self
    where
        S: 'static,
    {
        Self { connection: h1::Connection::shared(io, limits) }
    }

    /// Ready once the connection can no longer be used: the server closed it, or sent what nobody asked for.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.borrow_mut().poll_closed(cx)
    }

    /// Whether it looks usable now. The server may still close before the request reaches it: see `Progress`. An
    /// exchange started on one that is not fails with [`Failure::Closed`] before it sent a byte.
    pub fn is_reusable(&mut self) -> bool {
        self.poll_closed(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Starts an exchange: queues the head, which leaves with the first of the body, or when the response is asked
    /// for. Connection, Keep-Alive, Upgrade and framing headers among `head.headers` are not written: they follow
    /// from `length` and `head.websocket`.
    pub fn start(self, head: &RequestHead, length: Length) -> Exchange<S> {
        let connection = self.connection;
        connection.borrow_mut().start(head, length);
        Exchange {
            upload: BodyWriter::new(connection.clone()),
            body: Body::new(connection.clone()),
            connection,
        }
    }
}

/// How far an exchange came, in bytes on the connection: what a retry has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of the request, head included, handed to the stream.
    pub sent: u64,
    /// Of the response.
    pub received: u64,
}

/// One request on its way and its response. The fields are apart so that both directions can be driven at once.
pub struct Exchange<S> {
    /// The request's body.
    pub upload: BodyWriter<S, Request>,
    /// The response's body, once the final head is there.
    pub body: Body<S>,
    connection: Shared<S>,
}

impl<S: Stream> Exchange<S> {
    /// The next head: any number of informational ones (status below 200), then the final one, or 101 if
    /// `RequestHead::websocket` was asked for. It may come before the upload is finished. Flushes what is queued.
    ///
    /// It has no deadline until the first byte of a head came: that one is the caller's.
    ///
    /// # Errors
    /// [`Failure::Closed`] and stream failures before the first byte, see [`progress`](Self::progress); malformed
    /// responses, none of which is passed on.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        self.connection.borrow_mut().poll_head(cx)
    }

    /// How far it came.
    pub fn progress(&self) -> Progress {
        self.connection.borrow().progress()
    }

    /// Ends the exchange; the connection, if it can be used again. It cannot if either body is unfinished, the server
    /// said so, or more came than the response.
    pub fn finish(self) -> Option<Client<S>> {
        let reusable = self.connection.borrow_mut().conclude_exchange();
        reusable.then_some(Client { connection: self.connection })
    }

    /// The bare stream both ways, after a head with status 101; what the server sent after it comes first.
    pub fn upgraded(self) -> Upgraded<S> {
        Upgraded::new(self.connection)
    }
}
