//! A record of every refusal and failure, and the bounded ring that keeps a core's newest ones. Written where
//! something was refused, read by the control thread; the data path takes the lock only then.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Serialize, Serializer};
use sidering_identity::Leaf;
use sidering_policy::{Address, Answered, Asked, Case, Destination, Direction, Facts, Peer, Transport};

use crate::Reason;

/// Why a connection or request was refused or failed, with everything an operator needs. It never leaves the host
/// by way of a reply.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Unique within the process and growing: `explain ID`. Its top 16 bits are the core.
    pub id: u64,
    /// Milliseconds since the Unix epoch.
    pub time: u64,
    /// Which way the traffic went.
    #[serde(serialize_with = "direction")]
    pub direction: Direction,
    /// How far it had come.
    pub phase: Phase,
    /// The row of the table.
    pub reason: Reason,
    /// The listener that took it.
    pub listener: String,
    /// What its first bytes were; absent where it ended before.
    pub sniffed: Option<SniffedText>,
    /// The downstream peer.
    pub peer: Option<SocketAddr>,
    /// Where the downstream meant to go.
    pub destination: Option<SocketAddr>,
    /// The upstream that was tried last: an address or a path.
    pub upstream: Option<String>,
    /// The cluster, where one was chosen.
    pub cluster: Option<String>,
    /// Who was expected, and where each name was written.
    pub expected: Vec<Expected>,
    /// Who it was instead, or who was refused.
    pub presented: Option<Presented>,
    /// The resource and line that decided.
    pub origin: Option<OriginText>,
    /// All ALLOW policies that would have had to allow it, where none did.
    pub policies: Vec<OriginText>,
    /// The request, where there was one.
    pub request: Option<RequestLine>,
    /// SNI of the client, where it sent one.
    pub server_name: Option<String>,
    /// Version of the Snapshot that was in force.
    pub snapshot: u64,
    /// In words, for the operator only.
    pub detail: String,
}

/// What chains are chosen by, besides the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SniffedText {
    /// `raw` or `tls`.
    #[serde(serialize_with = "transport")]
    pub transport: Transport,
    /// Offered by ALPN, or sniffed.
    pub protocols: Vec<String>,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Choosing a chain.
    Accept,
    /// Reading the first bytes.
    Sniff,
    /// TLS with the downstream or the upstream.
    Handshake,
    /// Reading and comparing identities.
    Naming,
    /// AuthorizationPolicy.
    Authorize,
    /// Virtual host, route, cluster, endpoint.
    Route,
    /// To the upstream.
    Connect,
    /// Moving bytes.
    Relay,
}

/// A name that was expected, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// A SPIFFE id or another subject alternative name.
    pub name: String,
    /// For people: `endpoint 127.1.2.3 (mesh.yaml:12:3)`.
    pub from: String,
}

/// What a peer's certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presented {
    /// URI and DNS names.
    pub names: Vec<String>,
    /// Upper-case hex.
    pub serial: String,
    /// Seconds since the epoch.
    pub not_after: i64,
}

/// A resource and its line, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OriginText {
    /// `AuthorizationPolicy`, `PeerAuthentication`, or `default`.
    pub kind: String,
    /// `namespace/name[rule]`.
    pub label: String,
    /// `file:line:column`; absent for defaults.
    pub position: Option<String>,
}

/// What a request asked for. Never its headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// `:method`.
    pub method: String,
    /// `:authority`.
    pub host: String,
    /// Without its query.
    pub path: String,
    /// Who the client is behind the peers that forwarded it; absent where it is the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<IpAddr>,
}

/// A core's newest records. One writer, the core; any reader.
#[derive(Debug)]
pub(crate) struct Ring {
    core: u64,
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    made: u64,
    newest: VecDeque<Record>,
}

/// How many records a core keeps.
const CAPACITY: usize = 1024;

impl Ring {
    pub(crate) fn new(core: usize) -> Self {
        Self { core: core as u64, records: Mutex::default() }
    }

    /// Keeps a record under the id that it returns; the oldest makes room.
    pub(crate) fn push(&self, mut record: Record) -> u64 {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.made += 1;
        record.id = self.core << 48 | records.made;
        if records.newest.len() == CAPACITY {
            records.newest.pop_front();
        }
        let id = record.id;
        records.newest.push_back(record);
        id
    }

    /// While the value is kept, a core that has something to record stands still.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop {
        self.records.lock().unwrap()
    }

    /// What is kept, oldest first.
    pub(crate) fn snapshot(&self) -> Vec<Record> {
        self.after(0).0
    }

    /// What is kept of those that were made after the first `seen`, and how many were made by now.
    pub(crate) fn after(&self, seen: u64) -> (Vec<Record>, u64) {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let more = usize::try_from(records.made.saturating_sub(seen)).unwrap_or(usize::MAX);
        let known = records.newest.len().saturating_sub(more);
        (records.newest.range(known..).cloned().collect(), records.made)
    }
}

/// No text of a record is longer, in bytes: what peers send is kept a thousand times over.
const LONGEST: usize = 2048;
/// No list of a record is.
const MOST: usize = 64;
/// Stands where a text was cut off.
const CUT: char = '…';

impl Record {
    /// Cuts off what is too much to keep.
    pub(crate) fn bounded(mut self) -> Self {
        if let Some(request) = &mut self.request {
            [&mut request.method, &mut request.host, &mut request.path].into_iter().for_each(cut);
        }
        cut(&mut self.detail);
        self.server_name.iter_mut().for_each(cut);
        if let Some(presented) = &mut self.presented {
            presented.names.truncate(MOST);
            presented.names.iter_mut().for_each(cut);
        }
        if let Some(sniffed) = &mut self.sniffed {
            sniffed.protocols.truncate(MOST);
        }
        self.expected.truncate(MOST);
        self.policies.truncate(MOST);
        self
    }

    /// What the deciding functions can be asked about again. `None`: it ended before anything was known.
    pub fn case(&self) -> Option<Case> {
        let sniffed = self.sniffed.as_ref()?;
        let peer = self.peer?;
        let leaf = self.presented.as_ref().map(Leaf::from);
        let (client, server) = match self.direction {
            Direction::Inbound => (leaf, None),
            Direction::Outbound => (None, leaf.and_then(|leaf| self.answered(leaf))),
        };
        let asked = |request: &RequestLine| Asked {
            method: request.method.clone(),
            authority: request.host.clone(),
            path: request.path.clone(),
            remote_ip: request.remote_ip.unwrap_or(peer.ip()),
            headers: None,
        };
        Some(Case {
            listener: self.listener.as_str().into(),
            facts: Facts {
                peer: Peer(peer),
                destination: Destination(self.destination?),
                transport: sniffed.transport,
                server_name: self.server_name.as_deref().map(Into::into),
                application_protocols: sniffed.protocols.iter().map(|name| name.as_str().into()).collect(),
            },
            client,
            // Rules and routes would say something else to a part of it.
            request: self.request.as_ref().filter(|request| request.is_whole()).map(asked),
            server,
            decided: self.origin.as_ref().map(|origin| origin.label.clone()),
        })
    }

    fn answered(&self, leaf: Leaf) -> Option<Answered> {
        let upstream = self.upstream.as_deref()?;
        let address = match upstream.parse() {
            Ok(address) => Address::Tcp(address),
            Err(_) => Address::Unix(PathBuf::from(upstream).into()),
        };
        Some(Answered { cluster: self.cluster.as_deref()?.into(), address, leaf })
    }
}

impl RequestLine {
    fn is_whole(&self) -> bool {
        [&self.method, &self.host, &self.path].into_iter().all(|text| !text.ends_with(CUT))
    }
}

fn cut(text: &mut String) {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push(CUT);
    }
}

impl fmt::Display for OriginText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.label)?;
        self.position.as_ref().map_or(Ok(()), |position| write!(f, " ({position})"))
    }
}

impl From<&sidering_policy::Origin> for OriginText {
    fn from(origin: &sidering_policy::Origin) -> Self {
        Self {
            kind: origin.kind.to_string(),
            label: origin.label(),
            position: origin.position.as_ref().map(ToString::to_string),
        }
    }
}

/// As far as it is kept.
impl From<&Presented> for Leaf {
    fn from(presented: &Presented) -> Self {
        let names = presented.names.iter().cloned();
        let (uris, dns) = names.partition(|name| name.contains("://"));
        Self {
            uris,
            dns,
            serial: presented.serial.clone(),
            subject: String::new(),
            not_before: 0,
            not_after: presented.not_after,
        }
    }
}

impl From<&Leaf> for Presented {
    fn from(leaf: &Leaf) -> Self {
        Self {
            names: leaf.uris.iter().chain(&leaf.dns).cloned().collect(),
            serial: leaf.serial.clone(),
            not_after: leaf.not_after,
        }
    }
}

fn direction<S: Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(direction.name())
}

fn transport<S: Serializer>(transport: &Transport, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match transport {
        Transport::Raw => "raw",
        Transport::Tls => "tls",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            id: 0,
            time: 0,
            direction: Direction::Inbound,
            phase: Phase::Accept,
            reason: Reason::NoChain,
            listener: "inbound".into(),
            sniffed: None,
            peer: None,
            destination: None,
            upstream: None,
            cluster: None,
            expected: Vec::new(),
            presented: None,
            origin: None,
            policies: Vec::new(),
            request: None,
            server_name: None,
            snapshot: 1,
            detail: String::new(),
        }
    }

    #[test]
    fn a_ring_keeps_the_newest_under_growing_ids() {
        let ring = Ring::new(3);
        for _ in 0..CAPACITY + 5 {
            ring.push(record());
        }
        let ids: Vec<u64> = ring.snapshot().iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), CAPACITY);
        assert_eq!(ids[0], 3 << 48 | 6);
        assert!(ids.is_sorted());
    }

    #[test]
    fn a_ring_tells_what_came_since() {
        let ring = Ring::new(0);
        (0..CAPACITY + 5).for_each(|_| _ = ring.push(record()));
        let ids = |seen| {
            let (records, made) = ring.after(seen);
            (records.first().map(|record| record.id), records.len(), made)
        };
        let made = CAPACITY as u64 + 5;
        assert_eq!(ids(0), (Some(6), CAPACITY, made), "five are gone");
        assert_eq!(ids(made - 2), (Some(made - 1), 2, made));
        assert_eq!(ids(made), (None, 0, made));
    }

    #[test]
    fn what_a_peer_sends_is_kept_in_part_and_then_not_asked_about() {
        let asked = |path: String| {
            let request = RequestLine { method: "GET".into(), host: "h".into(), path, remote_ip: None };
            let record = Record {
                sniffed: Some(SniffedText { transport: Transport::Raw, protocols: vec!["h2".into(); 100] }),
                peer: Some(([127, 0, 0, 1], 1).into()),
                destination: Some(([127, 0, 0, 1], 2).into()),
                request: Some(request),
                detail: "é".repeat(2000),
                ..record()
            };
            record.bounded()
        };
        let long = asked("/é".repeat(1000));
        assert!(long.request.as_ref().unwrap().path.len() < LONGEST + 8 && long.detail.len() < LONGEST + 8);
        assert_eq!(long.sniffed.as_ref().unwrap().protocols.len(), MOST);
        assert!(long.case().unwrap().request.is_none());
        assert_eq!(asked("/é".into()).case().unwrap().request.unwrap().path, "/é");
        assert!(record().case().is_none());
    }

    #[test]
    fn a_record_is_json_in_the_words_of_the_table() {
        let json = serde_json::to_value(record()).unwrap();
        assert_eq!((&json["direction"], &json["phase"]), (&"inbound".into(), &"accept".into()));
        assert_eq!(json["reason"], "no-chain");
    }
}
