//! What is said of a request or an opaque connection once it is over: counters and the access log. If nobody says
//! anything, it was dropped halfway, and that is what is reported.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use sidering_http::{Headers, RequestHead};
use sidering_net::now;
use sidering_policy::{Direction, Permit};

use crate::access_log::{Entry, TlsEntry};
use crate::connection::{Client, Connection};
use crate::record::direction_name;
use crate::refused::Refused;
use crate::status::Security;
use crate::upstream::{Established, shown};
use crate::{Phase, Reason};

/// Collects; reports once.
pub(crate) struct Report<'a> {
    connection: &'a Connection,
    http: bool,
    started: Instant,
    security: Security,
    /// Only where there is a log.
    entry: Option<Box<Entry>>,
    open: bool,
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
        let mut report = Self::connection(connection, client);
        report.http = true;
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

    /// Of an opaque connection.
    pub(crate) fn connection(connection: &'a Connection, client: Option<&Rc<Client>>) -> Self {
        let security = match (connection.direction, client) {
            (Direction::Inbound, Some(_)) => Security::MutualTls,
            (Direction::Inbound, None) | (Direction::Outbound, _) => Security::None,
        };
        let entry = connection.core.log.as_ref().map(|_| Box::new(entry(connection, client)));
        Self { connection, http: false, started: now(), security, entry, open: true }
    }

    /// Of a connection that was refused before anything was exchanged, or that failed between two requests.
    pub(crate) fn refuse(connection: &'a Connection, refused: &Refused) {
        let mut report = Self::connection(connection, connection.client().as_ref());
        report.refused(refused);
        report.finish(&End::default());
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
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
    pub(crate) fn upstream(&mut self, cluster: &str, established: &Established) {
        if self.connection.direction == Direction::Outbound {
            self.security = established.security();
        }
        let Some(entry) = &mut self.entry else { return };
        entry.upstream_cluster = Some(cluster.to_owned());
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
        let Some(entry) = &mut self.entry else { return };
        entry.policy = refused.origin.as_ref().map(ToString::to_string).or(entry.policy.take());
        entry.upstream_cluster = entry.upstream_cluster.take().or_else(|| refused.cluster.clone());
        entry.upstream_host = entry.upstream_host.take().or_else(|| refused.upstream.clone());
        match refused.phase {
            Phase::Authorize if self.http => entry.response_code_details = Some(rbac_details(refused)),
            Phase::Authorize => entry.connection_termination_details = Some(rbac_details(refused)),
            Phase::Connect | Phase::Handshake | Phase::Naming => {
                entry.upstream_transport_failure_reason = Some(refused.detail.clone());
            }
            Phase::Accept | Phase::Sniff | Phase::Route | Phase::Relay => {}
        }
    }

    fn because(&mut self, reason: Reason) {
        if let Some(entry) = &mut self.entry {
            entry.reason = Some(reason);
            entry.response_flags = reason.flag();
            if self.http {
                entry.response_code_details = Some(reason.name().into());
            } else {
                entry.connection_termination_details = Some(reason.name().into());
            }
        }
    }

    /// Reports: once.
    pub(crate) fn finish(&mut self, end: &End) {
        self.open = false;
        let tally = self.connection.tally();
        if self.http {
            tally.request(self.security, end.status);
        } else {
            tally.received_bytes.add(end.received);
            tally.sent_bytes.add(end.sent);
        }
        let (Some(mut entry), Some(log)) = (self.entry.take(), &self.connection.core.log) else { return };
        entry.response_code = end.status;
        entry.bytes_received = end.received;
        entry.bytes_sent = end.sent;
        entry.duration = milliseconds(self.started, now());
        entry.upstream_service_time = end.first_byte.map(|at| milliseconds(self.started, at));
        entry.response_code_details = entry.response_code_details.or_else(|| end.details.map(Into::into));
        log.write(entry);
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
        direction: direction_name(connection.direction),
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

fn milliseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
