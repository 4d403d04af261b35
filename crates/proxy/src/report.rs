//! What is said of a request or an opaque connection once it is over: counters and the access log. If nobody says
//! anything, it was dropped halfway, and that is what is reported.

use std::cell::{Cell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sidering_http::{Headers, RequestHead};
use sidering_net::{Counters, Meter, now};
use sidering_policy::{Chain, Direction, Filter, Permit, RouteAction};

use crate::access_log::{Entry, TlsEntry};
use crate::connection::{Client, Connection};
use crate::refused::Refused;
use crate::reply::is_grpc;
use crate::series::{Series, Traffic};
use crate::status::{RequestProtocol, Security, Span};
use crate::upstream::{Established, shown};
use crate::{Phase, Reason};

/// Collects; reports once.
pub(crate) struct Report<'a> {
    connection: &'a Connection,
    what: What,
    grpc_status: Option<u8>,
    reason: Option<Reason>,
    started: Instant,
    /// Nanoseconds from there to the end of the last part of it.
    mark: u64,
    /// Nanoseconds of its time that others took.
    waited: u64,
    /// Where it was to go. Boxed, as a connection keeps the room for it.
    cluster: Option<Box<Arc<str>>>,
    established: Option<Rc<Established>>,
    flow: Option<Flow>,
    /// Only where there is a log.
    entry: Option<Box<Entry>>,
    open: bool,
}

/// What is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// A request, or what was meant to be one.
    Request(RequestProtocol),
    /// A connection of opaque bytes that was authorized.
    Opaque,
    /// A connection that never came to exchange anything.
    Refused,
}

/// The bytes of an opaque connection: in its series as they move, since it may live for days.
pub(crate) struct Flow {
    series: Arc<Series>,
    moved: Counters,
}

impl Meter for Flow {
    fn forward(&self, bytes: u64) {
        self.series.received_bytes.add(bytes);
        self.moved.forward(bytes);
    }

    fn backward(&self, bytes: u64) {
        self.series.sent_bytes.add(bytes);
        self.moved.backward(bytes);
    }
}

/// How it ended, for all that is counted and logged.
#[derive(Default)]
pub(crate) struct End {
    /// 0 where no response was sent, and for opaque connections.
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// When the response's head was there.
    pub(crate) first_byte: Option<Instant>,
    pub(crate) details: Option<&'static str>,
}

impl<'a> Report<'a> {
    /// Of a request.
    pub(crate) fn request(
        connection: &'a Connection,
        client: Option<&Rc<Client>>,
        head: &RequestHead,
    ) -> Self {
        let protocol = if is_grpc(&head.headers) { RequestProtocol::Grpc } else { RequestProtocol::Http };
        let mut report = Self::of(connection, client, What::Request(protocol));
        if let Some(entry) = &mut report.entry {
            entry.method = Some(head.method.to_string());
            entry.path = Some(head.target.clone());
            entry.protocol = Some(head.version.as_str());
            entry.authority = head.authority.clone();
            entry.x_forwarded_for = text(&head.headers, "x-forwarded-for");
            entry.user_agent = text(&head.headers, "user-agent");
            entry.request_id = text(&head.headers, "x-request-id");
        }
        report
    }

    /// Of what came in a request's place and is none.
    pub(crate) fn no_request(connection: &'a Connection, client: Option<&Rc<Client>>) -> Self {
        Self::of(connection, client, What::Request(RequestProtocol::Http))
    }

    /// Of an opaque connection.
    pub(crate) fn opaque(connection: &'a Connection, client: Option<&Rc<Client>>) -> Self {
        Self::of(connection, client, What::Opaque)
    }

    fn of(connection: &'a Connection, client: Option<&Rc<Client>>, what: What) -> Self {
        let started = now();
        Self {
            connection,
            what,
            grpc_status: None,
            reason: None,
            started,
            mark: 0,
            waited: 0,
            cluster: None,
            established: None,
            flow: None,
            entry: connection.core.log.as_ref().map(|_| Box::new(entry(connection, client))),
            open: true,
        }
    }

    /// Of a connection that was refused before anything was exchanged, or that failed between two requests.
    pub(crate) fn refuse(connection: &'a Connection, refused: &Refused) {
        let mut report = Self::of(connection, connection.client().as_ref(), What::Refused);
        report.refused(refused);
        report.finish(&End::default());
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.what == What::Request(RequestProtocol::Grpc)
    }

    /// It is decided what becomes of a request.
    pub(crate) fn decided(&mut self) {
        let took = now() - self.started;
        self.mark = nanoseconds(took);
        self.connection.tally().took(Span::Authorize, took);
    }

    /// There is a connection for it, which others had to answer for if it is a `new` one. Says when that was.
    pub(crate) fn connected(&mut self, new: bool) -> Instant {
        let now = now();
        let after = nanoseconds(now - self.started);
        if new {
            self.waited += after - self.mark;
        }
        self.mark = after;
        now
    }

    /// The response's head came.
    pub(crate) fn answered(&mut self, first_byte: Instant, grpc_status: Option<u8>) {
        let took = nanoseconds(first_byte - self.started).saturating_sub(self.mark);
        self.connection.tally().took(Span::FirstByte, Duration::from_nanos(took));
        self.waited += took;
        self.grpc_status = grpc_status;
    }

    /// Opaque bytes begin to flow.
    pub(crate) fn joined(&mut self) -> &Flow {
        let series = self.series(0).clone();
        series.opened.add(1);
        self.flow.insert(Flow { series, moved: Counters::default() })
    }

    /// What of them there was.
    pub(crate) fn flowed(&self) -> End {
        let moved =
            |of: fn(&Counters) -> &Cell<u64>| self.flow.as_ref().map_or(0, |flow| of(&flow.moved).get());
        End { received: moved(|it| &it.forward), sent: moved(|it| &it.backward), ..End::default() }
    }

    /// Who allowed it, and which dry-run rule would not have.
    pub(crate) fn permitted(&mut self, permit: &Permit) {
        if permit.would_deny().is_some() {
            self.connection.core.counters().dry_run_denials.add(1);
        }
        if let Some(entry) = &mut self.entry {
            entry.policy = permit.by().map(ToString::to_string);
            entry.would_deny = permit.would_deny().map(ToString::to_string);
        }
    }

    /// The route taken.
    pub(crate) fn routed(&mut self, route: &str) {
        if let Some(entry) = &mut self.entry {
            entry.route_name = Some(route.to_owned());
        }
    }

    /// The upstream that is tried.
    pub(crate) fn upstream(&mut self, established: &Rc<Established>) {
        self.established = Some(established.clone());
        let Some(entry) = &mut self.entry else { return };
        entry.upstream_cluster = Some(established.key.cluster.to_string());
        entry.upstream_host = Some(shown(&established.endpoint.address));
        entry.upstream_local_address = Some(established.local.clone());
        entry.naming = Some(established.naming());
        entry.destination_principal = established.identity.as_ref().map(|peer| peer.id.to_string());
        let serial = established.identity.as_ref().map(|peer| &*peer.leaf.serial);
        entry.upstream_tls = established.tls.as_ref().map(|tls| TlsEntry::new(tls, serial));
    }

    /// Writes the record of a refusal or failure, and remembers it for the log.
    pub(crate) fn refused(&mut self, refused: &Refused) {
        self.connection.refuse(refused);
        self.because(refused.reason);
        self.cluster = refused.cluster.as_deref().map(|name| Box::new(name.into()));
        let Some(entry) = &mut self.entry else { return };
        entry.policy = refused.origin.as_ref().map(ToString::to_string).or(entry.policy.take());
        entry.upstream_cluster = entry.upstream_cluster.take().or_else(|| refused.cluster.clone());
        entry.upstream_host = entry.upstream_host.take().or_else(|| refused.upstream.clone());
        match refused.phase {
            Phase::Authorize if matches!(self.what, What::Request(_)) => {
                entry.response_code_details = Some(rbac_details(refused))
            }
            Phase::Authorize => entry.connection_termination_details = Some(rbac_details(refused)),
            Phase::Connect | Phase::Handshake | Phase::Naming => {
                entry.upstream_transport_failure_reason = Some(refused.detail.clone());
            }
            Phase::Accept | Phase::Sniff | Phase::Route | Phase::Relay => {}
        }
    }

    fn because(&mut self, reason: Reason) {
        self.reason = Some(reason);
        if let Some(entry) = &mut self.entry {
            entry.reason = Some(reason);
            entry.response_flags = reason.flag();
            if matches!(self.what, What::Request(_)) {
                entry.response_code_details = Some(reason.name().into());
            } else {
                entry.connection_termination_details = Some(reason.name().into());
            }
        }
    }

    /// Reports: once.
    pub(crate) fn finish(&mut self, end: &End) {
        self.open = false;
        let ended = now();
        self.count(end, ended);
        let (Some(mut entry), Some(log)) = (self.entry.take(), &self.connection.core.log) else { return };
        entry.response_code = end.status;
        entry.bytes_received = end.received;
        entry.bytes_sent = end.sent;
        entry.duration = milliseconds(self.started, ended);
        entry.upstream_service_time = end.first_byte.map(|at| milliseconds(self.started, at));
        entry.response_code_details = entry.response_code_details.or_else(|| end.details.map(Into::into));
        log.write(entry);
    }
}

impl Report<'_> {
    fn count(&self, end: &End, ended: Instant) {
        let took = ended - self.started;
        match self.what {
            What::Request(_) => {
                let series = self.series(end.status);
                series.requests.add(1);
                series.duration.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                series.request_bytes.observe(end.received);
                series.response_bytes.observe(end.sent);
                // Of what failed it is not known how long others let it wait.
                if self.reason.is_none() {
                    let own = took.saturating_sub(Duration::from_nanos(self.waited));
                    self.connection.tally().took(Span::Own, own);
                }
            }
            What::Opaque => {
                let series = self.series(0);
                if self.flow.is_none() {
                    series.opened.add(1);
                }
                series.closed.add(1);
            }
            // Among the refusals.
            What::Refused => {}
        }
    }

    /// Where it is counted if it has that status.
    fn series(&self, code: u16) -> RefMut<'_, Arc<Series>> {
        let connection = self.connection;
        let established = self.established.as_deref();
        let client;
        let (peer, security) = match connection.direction {
            Direction::Inbound => {
                client = connection.client();
                let peer = client.as_deref().map(|client| &client.identity.id);
                (peer, if peer.is_some() { Security::MutualTls } else { Security::None })
            }
            Direction::Outbound => {
                let peer = established.and_then(|it| it.identity.as_ref()).map(|peer| &peer.id);
                (peer, established.map_or(Security::None, Established::security))
            }
        };
        // Refused before it was routed: what is inbound goes to the port that it came to.
        let own = (connection.direction == Direction::Inbound && established.is_none())
            .then(|| target(&connection.chain()))
            .flatten();
        connection.series(&Traffic {
            direction: connection.direction,
            protocol: match self.what {
                What::Request(protocol) => protocol,
                What::Opaque | What::Refused => RequestProtocol::Tcp,
            },
            code,
            grpc_status: self.grpc_status,
            flag: self.reason.map_or("-", Reason::flag),
            security,
            peer,
            cluster: established.map(|it| &it.key.cluster).or(self.cluster.as_deref()).or(own.as_ref()),
        })
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if self.open {
            self.because(Reason::DownstreamClosed);
            self.finish(&End::default());
        }
    }
}

/// The cluster that an inbound chain leads to.
fn target(chain: &Chain) -> Option<Arc<str>> {
    let clusters = match &chain.filter {
        Filter::Http(table) => match &table.any.as_ref()?.routes.first()?.action {
            RouteAction::Forward { clusters, .. } => clusters.as_slice(),
            RouteAction::Respond { .. } => return None,
        },
        Filter::Tcp(clusters) => clusters,
    };
    clusters.first().map(|cluster| cluster.cluster.clone())
}

/// As Envoy's RBAC filter says it.
fn rbac_details(refused: &Refused) -> String {
    let named = match refused.reason {
        Reason::NotAllowedByPolicy => None,
        _ => refused.origin.as_ref().and_then(|origin| {
            let (name, rule) = origin.label.strip_suffix(']')?.rsplit_once('[')?;
            let (namespace, name) = name.split_once('/')?;
            Some(format!("ns[{namespace}]-policy[{name}]-rule[{rule}]"))
        }),
    };
    format!("rbac_access_denied_matched_policy[{}]", named.as_deref().unwrap_or("none"))
}

fn entry(connection: &Connection, client: Option<&Rc<Client>>) -> Entry {
    let facts = connection.facts();
    Entry {
        start_time: SystemTime::now(),
        method: None,
        path: None,
        protocol: None,
        response_code: 0,
        response_flags: "-",
        response_code_details: None,
        connection_termination_details: None,
        upstream_transport_failure_reason: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: 0,
        upstream_service_time: None,
        x_forwarded_for: None,
        user_agent: None,
        request_id: None,
        authority: None,
        upstream_host: None,
        upstream_cluster: None,
        upstream_local_address: None,
        downstream_local_address: connection.destination.0.to_string(),
        downstream_remote_address: connection.peer.0.to_string(),
        requested_server_name: facts.and_then(|facts| facts.server_name.as_deref().map(str::to_owned)),
        route_name: None,
        direction: connection.direction.name(),
        connection_id: connection.number(),
        reason: None,
        policy: None,
        would_deny: None,
        source_principal: client.map(|client| client.identity.id.to_string()),
        destination_principal: None,
        naming: None,
        downstream_tls: client.map(|client| TlsEntry::new(&client.tls, Some(&client.identity.leaf.serial))),
        upstream_tls: None,
    }
}

fn text(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
