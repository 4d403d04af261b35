//! One HTTP request in either direction: decide, then act. What is decided reads the core's newest Snapshot and holds
//! everything that acting needs; acting forwards, and forwards again only where that is safe.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sidering_http::{
    Body, Done, Failure, Handler, Malformed, Outcome, RequestHead, Responder, ResponseHead, strip_hop_by_hop,
};
use sidering_net::{Timer, now};
use sidering_policy::{
    Cluster, Endpoint, Filter, HeaderEdits, Origin, Permit, RequestFacts, RouteAction, RouteRequest, Token,
    authorize, normalize_path, path_of, route,
};

use crate::connection::{Client, Connection};
use crate::headers::{self, Sender};
use crate::io::Io;
use crate::live::Protocol;
use crate::refused::{Refused, Stage};
use crate::relay::{self, Answered, Cut, Deadlines, Request, Unanswered, within};
use crate::reply::{self, Reply};
use crate::report::{End, Report};
use crate::upstream::{Attempts, Established, Upstream, checkout, shown};
use crate::{Phase, Reason, RequestLine};

/// Serves the requests of a connection until it ends.
pub(crate) async fn serve<H: Handler<Io>>(connection: &Connection, io: Io, handler: &H) -> Stage<()> {
    connection.serves(Protocol::Http);
    let serving = pin!(sidering_http::serve(io, handler, &connection.core.limits, &connection.drain));
    match connection.unless_aborted(serving).await? {
        Ok(Outcome::Undelivered) => {
            let why = "closed before its response had left";
            Err(Refused::new(Phase::Relay, Reason::DownstreamClosed, why))
        }
        Ok(_) => Ok(()),
        // The client went away; if that broke an exchange off, the exchange has said so.
        Err(Failure::Io(_) | Failure::Closed | Failure::Aborted) => Ok(()),
        Err(failure) => Err(Refused::new(Phase::Relay, Reason::of_downstream(&failure), failure.to_string())),
    }
}

/// Records and answers what is no request.
pub(crate) fn malformed(connection: &Connection, why: Malformed, responder: Responder<Io>) -> Done {
    let mut report = Report::no_request(connection, connection.client().as_ref());
    let refused = Refused::new(Phase::Relay, Reason::from(&why), why.to_string());
    // There is no request to tell of; of the connection there is.
    report.refused(&refused);
    let reply = Reply::of(refused.reason, false);
    report.finish(&End { status: reply.status(), sent: reply.body_length(), ..End::default() });
    reply.send(responder)
}

/// One request from its head to its report.
pub(crate) struct Exchange<'a> {
    connection: &'a Connection,
    client: Option<&'a Rc<Client>>,
    retries: u32,
    report: Report<'a>,
}

/// Everything that acting needs.
enum Decision {
    Forward(Permit, Forward),
    Respond { head: ResponseHead, body: Arc<str> },
}

/// Where a request goes, and on what terms.
struct Forward {
    cluster: Arc<Cluster>,
    response_headers: HeaderEdits,
    timeout: Option<Timeout>,
}

/// A route's timeout, as of when it was decided.
struct Timeout {
    at: Instant,
    by: Origin,
}

impl<'a> Exchange<'a> {
    /// Before anything is decided the headers are made what the upstream gets: policy and routes see them so.
    pub(crate) fn begin(
        connection: &'a Connection,
        client: Option<&'a Rc<Client>>,
        sender: Sender<'_>,
        head: &mut RequestHead,
        retries: u32,
    ) -> Self {
        let core = &connection.core;
        headers::admit(&mut head.headers, sender);
        headers::ensure_request_id(&mut head.headers, [core.entropy(), core.entropy()]);
        let report = Report::request(connection, client, head);
        Self { connection, client, retries, report }
    }

    /// Decides, then acts. Not an `async fn`: it would keep its arguments beside what it makes of them.
    pub(crate) fn answer(
        mut self,
        mut head: RequestHead,
        body: Body<Io>,
        responder: Responder<Io>,
    ) -> impl Future<Output = Done> {
        let decision = self.decide(&mut head);
        self.report.decided();
        let mut decided = match decision {
            Ok(Decision::Forward(permit, forward)) => {
                Ok((self, Request { permit, head, body, responder }, forward))
            }
            Ok(Decision::Respond { head, body }) => Err(self.respond(&head, &body, responder)),
            Err(refused) => Err(self.refuse(refused, &head, responder)),
        };
        async move {
            match decided {
                Ok((ref mut exchange, request, ref forward)) => exchange.forward(request, forward).await,
                Err(done) => done,
            }
        }
    }

    /// The path is normalised before anything looks at it, and is forwarded as it was looked at.
    fn decide(&mut self, head: &mut RequestHead) -> Stage<Decision> {
        let connection = self.connection;
        connection.still_good()?;
        let live = connection.core.live();
        let snapshot = &live.snapshot;
        let (sniffed, chain) = (connection.sniffed(), connection.chain());
        let identity = self.client.map(|client| &client.identity);

        let target = normalize_path(snapshot.path_normalization, &head.target).ok_or_else(|| {
            Refused::new(Phase::Route, Reason::MalformedPath, "the path cannot be normalised")
        })?;
        if target != head.target {
            head.target = target.into_owned();
        }

        let authority = head.authority.as_deref().unwrap_or_default();
        let (method, path) = (head.method.as_str(), path_of(&head.target));
        let header = |name: &str, each: &mut dyn FnMut(&[u8])| head.headers.get_all(name).for_each(each);
        let remote_ip = headers::remote_ip(&head.headers, connection.peer.0, identity.is_some());
        let facts =
            RequestFacts { method, authority, path, remote_ip, token: Token::Unverified, header: &header };
        let permit = authorize(&chain.authorization, &sniffed, identity, &facts)
            .map_err(|refusal| Refused::decided(&refusal))?;
        self.report.permitted(&permit);

        let Filter::Http(table) = &chain.filter else {
            let why = "the chain takes no HTTP any more";
            return Err(Refused::new(Phase::Accept, Reason::ConfigurationChanged, why));
        };
        let scheme = headers::scheme(&head.headers);
        let request = RouteRequest { method, authority, scheme, path, header: &header };
        let routed = route(snapshot, table, &request, connection.core.entropy())
            .map_err(|refusal| Refused::decided(&refusal))?;

        self.report.routed(&routed.route.name);
        let response_headers = &routed.route.response_headers;
        match (&routed.route.action, routed.cluster) {
            (RouteAction::Respond { status, body }, _) => {
                let mut head = ResponseHead::new(*status);
                headers::edit(&mut head.headers, response_headers);
                Ok(Decision::Respond { head, body: body.clone() })
            }
            (RouteAction::Forward { host, .. }, Some(cluster)) => {
                headers::edit_request(head, &routed.route.request_headers);
                if let Some(host) = host {
                    head.authority = Some(host.0.to_string());
                }
                let by = || routed.route.origin.clone();
                let timeout = routed.route.timeout.map(|timeout| Timeout { at: now() + timeout, by: by() });
                let response_headers = response_headers.clone();
                Ok(Decision::Forward(permit, Forward { cluster: cluster.clone(), response_headers, timeout }))
            }
            (RouteAction::Forward { .. }, None) => {
                Err(Refused::new(Phase::Route, Reason::NoCluster, "the route chose no cluster"))
            }
        }
    }

    fn respond(&mut self, response: &ResponseHead, body: &str, responder: Responder<Io>) -> Done {
        let (status, sent) = (response.status, body.len() as u64);
        self.report.finish(&End { status, sent, details: Some("direct_response"), ..End::default() });
        responder.respond_full(response, body.as_bytes())
    }

    /// Checks an upstream out, relays, and tries again with another connection where nothing was lost.
    async fn forward(&mut self, mut request: Request, forward: &Forward) -> Done {
        let Forward { cluster, response_headers, timeout } = forward;
        let timeout = timeout.as_ref();
        let until = timeout.map(|timeout| timeout.at);
        let mut attempts = Attempts::new(self.retries, self.report.started());
        loop {
            let host = request.head.authority.as_deref();
            let checkout = within(until, pin!(checkout(self.connection, cluster, host, &mut attempts))).await;
            let (upstream, _in_flight) = match checkout {
                Ok(Ok(upstream)) => upstream,
                Ok(Err(refused)) => return self.refuse(refused, &request.head, request.responder),
                Err(_elapsed) => {
                    let refused = timed_out(timeout).towards(&cluster.name, None);
                    return self.refuse(refused, &request.head, request.responder);
                }
            };
            let Upstream { client, established, carried, mut patience } = upstream;
            let deadlines = Deadlines::new(self.report.connected(carried == 0), until);
            self.report.upstream(&established);
            let (grpc, grpc_status) = (self.report.is_grpc(), Cell::new(None));
            let edit = |head: &mut ResponseHead| {
                if grpc {
                    grpc_status.set(reply::grpc_status(&head.headers));
                }
                strip_hop_by_hop(&mut head.headers);
                headers::edit(&mut head.headers, response_headers);
            };
            match relay::http(self.connection, &established, request, client, &mut patience, deadlines, edit)
                .await
            {
                Ok(answered) => {
                    self.report.answered(answered.first_byte, grpc_status.get());
                    return self.finish(answered, cluster, established, carried, patience, timeout);
                }
                Err(unanswered) if sendable_again(&unanswered, carried > 0) && attempts.again() => {
                    attempts.distrust_pool();
                    self.connection.core.counters().retries.add(1);
                    request = unanswered.request;
                }
                Err(unanswered) => {
                    let refused = broken(&unanswered.why, cluster, &established.endpoint, timeout);
                    let Request { head, responder, .. } = unanswered.request;
                    return self.refuse(refused, &head, responder);
                }
            }
        }
    }

    fn finish(
        &mut self,
        answered: Answered,
        cluster: &Cluster,
        established: Rc<Established>,
        carried: u32,
        patience: Timer,
        timeout: Option<&Timeout>,
    ) -> Done {
        let Answered { head, done, status, first_byte, received, sent, client, cut } = answered;
        if let Some(client) = client {
            let upstream =
                Upstream { client, established: established.clone(), carried: carried + 1, patience };
            self.connection.core.check_in(upstream, cluster);
        }
        if let Some(why) = cut {
            let refused = broken(&why, cluster, &established.endpoint, timeout);
            self.report.refused(&refused.asking(Some(self.line(&head))));
        }
        let first_byte = Some(first_byte);
        self.report.finish(&End { status, received, sent, first_byte, details: Some("via_upstream") });
        done
    }

    /// For records.
    fn line(&self, head: &RequestHead) -> RequestLine {
        let peer = self.connection.peer.0;
        let remote_ip = headers::remote_ip(&head.headers, peer, self.client.is_some());
        RequestLine {
            method: head.method.to_string(),
            host: head.authority.clone().unwrap_or_default(),
            path: path_of(&head.target).to_owned(),
            remote_ip: Some(remote_ip).filter(|ip| *ip != peer.ip()),
        }
    }

    /// Records, answers with the reason's name and reports.
    #[cold]
    fn refuse(&mut self, refused: Box<Refused>, head: &RequestHead, responder: Responder<Io>) -> Done {
        let refused = refused.asking(Some(self.line(head)));
        self.report.refused(&refused);
        let reply = Reply::of(refused.reason, self.report.is_grpc());
        let (status, sent) = (reply.status(), reply.body_length());
        self.report.finish(&End { status, sent, ..End::default() });
        reply.send(responder)
    }
}

/// A kept connection may be closed by the server as we use it (RFC 9112, 9.3.1): the request is sent again if that
/// cannot do anything twice.
fn sendable_again(unanswered: &Unanswered, kept: bool) -> bool {
    let idempotent = unanswered.request.head.method.is_idempotent();
    kept && unanswered.untouched && (idempotent || unanswered.unsent)
}

/// What broke an exchange, and whose doing it was: nobody's resource where the client left.
fn broken(why: &Cut, cluster: &Cluster, endpoint: &Endpoint, timeout: Option<&Timeout>) -> Box<Refused> {
    let refused = match why {
        Cut::Downstream(failure) => {
            Refused::new(Phase::Relay, Reason::of_downstream(failure), format!("downstream: {failure}"))
        }
        Cut::Upstream(failure) => {
            Refused::new(Phase::Relay, Reason::of_upstream(failure), format!("upstream: {failure}"))
                .because_of(&endpoint.origin)
        }
        Cut::Revoked(refused) => refused.clone(),
        Cut::Timeout => timed_out(timeout).because_of(&endpoint.origin),
        Cut::Idle => {
            Refused::new(Phase::Relay, Reason::IdleTimeout, "nothing moved in the tunnel for an hour")
        }
    };
    refused.towards(&cluster.name, Some(shown(&endpoint.address)))
}

fn timed_out(timeout: Option<&Timeout>) -> Box<Refused> {
    let refused = |detail| Refused::new(Phase::Relay, Reason::UpstreamTimeout, detail);
    match timeout {
        Some(timeout) => refused("no answer within the route's timeout").because_of(&timeout.by),
        None => refused("no answer for an hour, and the route has no timeout"),
    }
}
