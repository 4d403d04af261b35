//! One outbound connection, forward only: sniff, accept, then route and relay, once for opaque bytes and per request
//! for HTTP. It is plaintext from our own application: there is nothing to terminate, and chains allow everything.
//! Called by the worker; what is returned as an error is recorded there.

use std::rc::Rc;

use sidering_http::{Body, Done, Handler, Malformed, RequestHead, Responder};
use sidering_net::TcpStream;
use sidering_policy::{Filter, Listener, authorize_tcp};

use crate::connection::Connection;
use crate::headers::Sender;
use crate::io::Io;
use crate::live::Protocol;
use crate::opaque;
use crate::refused::{Refused, Stage};
use crate::request::{self, Exchange};
use crate::sniff::first_bytes;

/// Istio's default.
pub(crate) const RETRIES: u32 = 2;

/// Serves a connection of our application until it ends; see [`crate::inbound::serve`] for what is boxed.
pub(crate) fn serve<'a>(
    connection: &'a Rc<Connection>,
    listener: &'a Listener,
    stream: TcpStream,
) -> impl Future<Output = Stage<()>> + 'a {
    let admitting = Box::pin(admit(connection, listener, stream));
    async move {
        let Some(mut io) = admitting.await? else { return Ok(()) };
        let chain = connection.chain();
        match &chain.filter {
            Filter::Tcp(clusters) => {
                connection.serves(Protocol::Tcp);
                let permit = authorize_tcp(&chain.authorization, &connection.sniffed(), None)
                    .map_err(|refusal| Refused::decided(&refusal))?;
                opaque::forward(connection, permit, clusters, &mut io).await;
                Ok(())
            }
            Filter::Http(_) => {
                let handler = Outbound(connection.clone());
                Box::pin(request::serve(connection, io, &handler)).await
            }
        }
    }
}

/// Sniffs and accepts; `None` if the application closed without a byte.
async fn admit(connection: &Rc<Connection>, listener: &Listener, stream: TcpStream) -> Stage<Option<Io>> {
    let Some(sniffed) = first_bytes(connection, listener, stream).await? else { return Ok(None) };
    connection.accept(&sniffed)?;
    connection.tally().plaintext.add(1);
    Ok(Some(Io::Plain(sniffed.io)))
}

/// Answers the requests of one outbound connection.
struct Outbound(Rc<Connection>);

impl Handler<Io> for Outbound {
    fn handle(
        &self,
        mut head: RequestHead,
        body: Body<Io>,
        responder: Responder<Io>,
    ) -> impl Future<Output = Done> {
        let exchange = Exchange::begin(&self.0, None, Sender::Application, &mut head, RETRIES);
        exchange.answer(head, body, responder)
    }

    async fn malformed(&self, why: Malformed, responder: Responder<Io>) -> Done {
        request::malformed(&self.0, why, responder)
    }
}
