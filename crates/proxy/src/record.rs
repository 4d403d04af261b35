//! A record of every refusal and failure, and the bounded ring that keeps a core's newest ones. Written where
//! something was refused, read by the control thread; the data path takes the lock only then.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use serde::{Serialize, Serializer};
use sidering_policy::Direction;

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
        self.records.lock().unwrap_or_else(PoisonError::into_inner).newest.iter().cloned().collect()
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

impl From<&sidering_identity::Leaf> for Presented {
    fn from(leaf: &sidering_identity::Leaf) -> Self {
        Self {
            names: leaf.uris.iter().chain(&leaf.dns).cloned().collect(),
            serial: leaf.serial.clone(),
            not_after: leaf.not_after,
        }
    }
}

fn direction<S: Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(direction_name(*direction))
}

/// As metrics and records spell it.
pub(crate) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
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
    fn a_record_is_json_in_the_words_of_the_table() {
        let json = serde_json::to_value(record()).unwrap();
        assert_eq!((&json["direction"], &json["phase"]), (&"inbound".into(), &"accept".into()));
        assert_eq!(json["reason"], "no-chain");
    }
}
