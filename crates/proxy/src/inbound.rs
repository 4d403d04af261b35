//! One inbound connection, forward only: sniff, accept, terminate TLS, then authorize and relay, once for opaque bytes
//! and per request for HTTP. Called by the worker; what is returned as an error is recorded there.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sidering_http::{Body, Done, Handler, Malformed, RequestHead, Responder};
use sidering_identity::{ExpectedSans, peer_identity};
use sidering_net::{TcpStream, now};
use sidering_policy::{DownstreamTls, Filter, Listener, Snapshot, authorize_tcp};

use crate::connection::{Client, Connection};
use crate::headers::{self, Sender};
use crate::io::Io;
use crate::live::Protocol;
use crate::refused::{Refused, Stage};
use crate::request::{self, Exchange};
use crate::sniff::{Sniffed, first_bytes, request_line};
use crate::{Phase, Reason, Span, opaque};

/// For a handshake, from its first byte to its last: Envoy's default in Istio is as long.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves a connection to our workload until it ends. What comes before that is boxed: the connection outlives it, and
/// shall not keep the room for it.
pub(crate) fn serve<'a>(
    connection: &'a Rc<Connection>,
    listener: &'a Listener,
    stream: TcpStream,
) -> impl Future<Output = Stage<()>> + 'a {
    let admitting = Box::pin(admit(connection, listener, stream));
    async move {
        let Some((mut io, client)) = admitting.await? else { return Ok(()) };
        // As of now: a Snapshot may have come during the handshake.
        let chain = connection.chain();
        match &chain.filter {
            Filter::Tcp(clusters) => {
                let identity = client.as_deref().map(|client| &client.identity);
                connection.serves(Protocol::Tcp);
                let permit = authorize_tcp(&chain.authorization, &connection.sniffed(), identity)
                    .map_err(|refusal| Refused::decided(&refusal))?;
                opaque::forward(connection, permit, clusters, &mut io).await;
                Ok(())
            }
            Filter::Http(_) => {
                let handler = Inbound::new(connection.clone(), client);
                // Boxed, so that a connection of opaque bytes costs only its own.
                Box::pin(request::serve(connection, io, &handler)).await
            }
        }
    }
}

/// Sniffs, accepts and terminates TLS; `None` if the client closed without a byte.
async fn admit(
    connection: &Rc<Connection>,
    listener: &Listener,
    stream: TcpStream,
) -> Stage<Option<(Io, Option<Rc<Client>>)>> {
    let Some(sniffed) = first_bytes(connection, listener, stream).await? else { return Ok(None) };

    let chain =
        connection.accept(&sniffed).map_err(|refused| refused.asking(request_line(sniffed.io.prefix())))?;
    match &chain.tls {
        // Boxed, since a client may stay silent for long.
        Some(tls) => Box::pin(terminate(connection, sniffed, tls)).await.map(Some),
        None => {
            connection.tally().plaintext.add(1);
            Ok(Some((Io::Plain(sniffed.io), None)))
        }
    }
}

/// Terminates mesh mTLS and believes the peer only if its one SPIFFE id is in our trust domains.
async fn terminate(
    connection: &Connection,
    sniffed: Sniffed,
    tls: &DownstreamTls,
) -> Stage<(Io, Option<Rc<Client>>)> {
    let live = connection.core.live();
    let roots_lost = live.roots_lost;
    let config = live.server(tls).cloned().ok_or_else(|| {
        Refused::new(
            Phase::Handshake,
            Reason::NoCredentials,
            "no certificate or trust bundle has arrived yet",
        )
    })?;
    drop(live);
    let began = now();
    let accepting =
        sidering_tls::accept(sniffed.io, &config, &sniffed.application_protocols, began + HANDSHAKE);
    let (io, handshake) =
        connection.unless_aborted(pin!(accepting)).await?.map_err(|failure| Refused::handshake(&failure))?;
    connection.tally().handshake(handshake.resumed);
    connection.tally().took(Span::Handshake, now() - began);

    let snapshot: Arc<Snapshot> = connection.core.live().snapshot.clone();
    let leaf = handshake.peer_leaf.as_deref().ok_or_else(|| {
        Refused::new(Phase::Handshake, Reason::NoClientCertificate, "no certificate came with the session")
    })?;
    let identity = peer_identity(leaf, &snapshot.trust_domains).map_err(|error| {
        let leaf = sidering_identity::read_leaf(leaf).ok();
        Refused::naming(&error, leaf.as_ref(), &ExpectedSans::default())
    })?;
    connection.tally().mutual_tls.add(1);
    let client = connection.authenticated(Client { identity, tls: handshake, roots_lost })?;
    Ok((Io::Tls(Box::new(io)), Some(client)))
}

/// Answers the requests of one inbound connection.
struct Inbound {
    connection: Rc<Connection>,
    client: Option<Rc<Client>>,
    /// What the application is told of the client: an element of x-forwarded-client-cert. The same for all requests.
    element: Option<String>,
}

impl Inbound {
    fn new(connection: Rc<Connection>, client: Option<Rc<Client>>) -> Self {
        let element = client.as_deref().map(|client| {
            let live = connection.core.live();
            let leaf = client.tls.peer_leaf.as_deref().unwrap_or_default();
            headers::client_certificate(live.snapshot.identity.as_ref(), &client.identity, leaf)
        });
        Self { connection, client, element }
    }
}

impl Handler<Io> for Inbound {
    fn handle(
        &self,
        mut head: RequestHead,
        body: Body<Io>,
        responder: Responder<Io>,
    ) -> impl Future<Output = Done> {
        let sender = match &self.element {
            Some(element) => Sender::MeshPeer(element),
            None => Sender::Stranger(self.connection.peer.0),
        };
        // One more try, for a kept connection that the application closed as we used it.
        let exchange = Exchange::begin(&self.connection, self.client.as_ref(), sender, &mut head, 1);
        exchange.answer(head, body, responder)
    }

    async fn malformed(&self, why: Malformed, responder: Responder<Io>) -> Done {
        request::malformed(&self.connection, why, responder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::story;

    fn size<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Most of what an idle connection costs beside TLS. The limits are size classes of the allocator.
    #[test]
    fn a_connection_waits_in_little_room() {
        assert!(size(story) <= 1024, "{} bytes", size(story));
        let serve = |connection: &'static Connection, io: Io, handler: &'static Inbound| {
            request::serve(connection, io, handler)
        };
        assert!(size(serve) <= 896, "{} bytes of an HTTP connection", size(serve));
    }
}
