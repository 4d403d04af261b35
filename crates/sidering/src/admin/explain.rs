//! A record in prose: what was refused, to whom, by which line; then the facts; then what would have let it pass.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use sidering_policy::{Answer, Direction, Snapshot, Transport};
use sidering_proxy::{OriginText, Phase, Record};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::advice::advice;
use crate::remedies::{self, escaped};

/// A record, and what is said to it now.
pub(super) struct Explained<'r> {
    record: &'r Record,
    /// Of the snapshot in force; `None` where there is nothing to ask about.
    answer: Option<Answer>,
    /// In force.
    snapshot: u64,
    advice: Option<String>,
}

impl<'r> Explained<'r> {
    /// Asks the deciding functions again. `roots` are the names of those that are trusted. May take a while.
    pub(super) fn of(record: &'r Record, snapshot: &Arc<Snapshot>, roots: &[String]) -> Self {
        let answer = record.case().map(|case| sidering_policy::remedies(snapshot, &case));
        Self { record, answer, snapshot: snapshot.version.0, advice: advice(record, roots) }
    }

    /// The record, with why it is refused now and what would let it pass.
    pub(super) fn json(&self) -> Value {
        let mut value = json!(self.record);
        value["refused_now"] = json!(self.answer.as_ref().and_then(|answer| answer.refused.as_deref()));
        let mut remedies = self.answer.as_ref().map(remedies::json).unwrap_or_default();
        remedies.extend(self.advice.as_deref().map(remedies::advised));
        value["remedies"] = remedies.into();
        value["asked_of_snapshot"] = self.snapshot.into();
        value
    }

    /// For an operator. Whatever came from a peer is escaped.
    pub(super) fn prose(&self) -> String {
        let record = self.record;
        let at = rfc3339(i128::from(record.time) * 1_000_000);
        let mut text = format!("At {at} {}\n{}\n", sentence(record), facts(record));
        text.push_str(&self.outlook());
        text
    }

    fn outlook(&self) -> String {
        let (was, now) = (self.record.snapshot, self.snapshot);
        let asked = self.answer.as_ref().filter(|answer| answer.refused.is_some() || self.advice.is_none());
        let mut lines = Vec::new();
        if let Some(answer) = asked {
            let unseen = "conditions on headers are not counted, since records keep no headers";
            match (&answer.refused, answer.unseen_headers) {
                (None, false) => lines.push(format!("With snapshot {now}, in force now, it would pass.")),
                (None, true) => {
                    lines.push(format!("With snapshot {now}, in force now, it would pass; {unseen}."))
                }
                (Some(why), seen) => {
                    if was != now {
                        lines
                            .push(escaped(&format!("Asked again with snapshot {now}, in force now: {why}.")));
                    }
                    lines.push(remedies::text(answer));
                    lines.extend(seen.then(|| format!("({unseen})")));
                }
            }
        }
        match &self.advice {
            Some(advice) => lines.push(escaped(&format!("What helps: {advice}"))),
            None if asked.is_none() => {
                lines.push("It can connect again: what it was decided by is gone.".to_owned())
            }
            None => {}
        }
        lines.join("\n")
    }
}

/// What happened, to whom, why and at which line. Whatever came from a peer is escaped.
pub(crate) fn sentence(record: &Record) -> String {
    let what = match &record.request {
        Some(request) => format!("{} {} to host {}", request.method, request.path, request.host),
        None => "a connection".to_owned(),
    };
    let to = record.destination.filter(|_| record.request.is_none());
    let to = to.map(|destination| format!(" to {destination}")).unwrap_or_default();
    let peer = record.peer.map_or_else(|| "a local peer".to_owned(), |peer| peer.to_string());
    let name = record.presented.as_ref().and_then(|presented| presented.names.first());
    let (from, at) = match (record.direction, &record.upstream, name) {
        (Direction::Inbound, _, Some(name)) => (format!("{name} ({peer})"), String::new()),
        (Direction::Inbound, ..) => (peer, String::new()),
        (Direction::Outbound, Some(upstream), _) => {
            (format!("the application ({peer})"), format!(" at {upstream}"))
        }
        (Direction::Outbound, None, _) => (format!("the application ({peer})"), String::new()),
    };
    let refused = advice(record, &[]).is_none();
    let verb = if refused { "was refused" } else { "failed" };
    let why = match record.policies.as_slice() {
        [] if record.detail.is_empty() => record.reason.name().to_owned(),
        [] => record.detail.clone(),
        policies => {
            let policies: Vec<String> = policies.iter().map(ToString::to_string).collect();
            format!("no ALLOW rule of {} matches", policies.join(" or "))
        }
    };
    let mut sentence = format!("{what}{to} from {from} {verb}{at}: {why}");
    // Where those words do not name the line at fault, it is named here.
    let told = |origin: &&OriginText| why.contains(&origin.to_string());
    match (record.phase, record.expected.first(), record.origin.as_ref().filter(|origin| !told(origin))) {
        (Phase::Naming, Some(expected), _) => sentence += &format!(", as {} says", expected.from),
        (_, _, Some(origin)) if refused => sentence += &format!(", by {origin}"),
        (_, _, Some(origin)) => sentence += &format!("; see {origin}"),
        _ => {}
    }
    sentence.push('.');
    escaped(&sentence)
}

/// A line for each.
fn facts(record: &Record) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<11} {value}");
    };
    let phase = format!("{:?}", record.phase).to_lowercase();
    let direction = record.direction.name();
    line("reason", &format!("{} ({direction}, {phase})", record.reason.name()));
    if let Some(request) = &record.request {
        let (method, host, path) = (escaped(&request.method), escaped(&request.host), escaped(&request.path));
        line("request", &format!("{method} {path} to host {host}"));
    }
    for expected in &record.expected {
        line("expected", &format!("{} ({})", expected.name, expected.from));
    }
    match &record.presented {
        Some(presented) if presented.names.is_empty() => line("presented", "a certificate without names"),
        Some(presented) => {
            let names = escaped(&presented.names.join(", "));
            let until = rfc3339(i128::from(presented.not_after) * 1_000_000_000);
            line("presented", &format!("{names} (serial {}, until {until})", presented.serial));
        }
        None => {}
    }
    if let Some(origin) = record.origin.as_ref().filter(|_| record.policies.is_empty()) {
        line("decided by", &named(origin));
    }
    for policy in &record.policies {
        line("could allow", &named(policy));
    }
    if let Some(cluster) = &record.cluster {
        line("cluster", cluster);
    }
    if let Some(upstream) = &record.upstream {
        line("upstream", upstream);
    }
    if let Some(sniffed) = &record.sniffed {
        let kind = if sniffed.transport == Transport::Tls { "TLS" } else { "plaintext" };
        let protocols = match sniffed.protocols.as_slice() {
            [] => String::new(),
            protocols => format!(", protocols {}", protocols.join(", ")),
        };
        let name = record.server_name.as_ref().map(|name| format!(", SNI {name}")).unwrap_or_default();
        line("came as", &escaped(&format!("{kind}{protocols}{name}, at listener {}", record.listener)));
    }
    line("snapshot", &format!("{}, record {}", record.snapshot, record.id));
    text
}

/// From nanoseconds since the epoch.
fn rfc3339(nanoseconds: i128) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn named(origin: &OriginText) -> String {
    match &origin.position {
        Some(position) => format!("{} {} at {position}", origin.kind, origin.label),
        None => format!("{} {}", origin.kind, origin.label),
    }
}

#[cfg(test)]
mod tests {
    use sidering_proxy::{Expected, Presented, Reason, RequestLine, SniffedText};

    use super::*;

    fn record(reason: Reason) -> Record {
        Record {
            id: 7,
            time: 0,
            direction: Direction::Outbound,
            phase: Phase::Naming,
            reason,
            listener: "127.0.0.2_80".into(),
            sniffed: Some(SniffedText { transport: Transport::Raw, protocols: vec!["http/1.1".into()] }),
            peer: Some("127.0.0.3:4000".parse().unwrap()),
            destination: Some("127.0.0.2:80".parse().unwrap()),
            upstream: Some("127.0.0.4:80".into()),
            cluster: None,
            expected: vec![Expected {
                name: "spiffe://a/ns/b/sa/c".into(),
                from: "endpoint 127.0.0.4 (m.yaml:3:1)".into(),
            }],
            presented: Some(Presented {
                names: vec!["spiffe://a/ns/b/sa/d".into()],
                serial: "0A".into(),
                not_after: 86400,
            }),
            origin: Some(OriginText {
                kind: "DestinationRule".into(),
                label: "b/c".into(),
                position: Some("m.yaml:9:5".into()),
            }),
            policies: Vec::new(),
            request: Some(RequestLine {
                method: "GET".into(),
                host: "h\u{1b}[31m".into(),
                path: "/".into(),
                remote_ip: None,
            }),
            server_name: None,
            snapshot: 3,
            detail: "presented x, expected y".into(),
        }
    }

    fn explained(record: &Record) -> Explained<'_> {
        Explained::of(record, &Arc::default(), &["CN=root".to_owned()])
    }

    #[test]
    fn a_refusal_reads_as_a_story() {
        let record = record(Reason::SecureNamingMismatch);
        let text = explained(&record).prose();
        assert!(
            text.starts_with(
                "At 1970-01-01T00:00:00Z GET / to host h\\u{1b}[31m from the application (127.0.0.3:4000) was refused at \
                 127.0.0.4:80: presented x, expected y, as endpoint 127.0.0.4 (m.yaml:3:1) says.\n  reason "
            ),
            "{text}"
        );
        for part in [
            "expected    spiffe://a/ns/b/sa/c (endpoint 127.0.0.4 (m.yaml:3:1))",
            "presented   spiffe://a/ns/b/sa/d (serial 0A, until 1970-01-02T00:00:00Z)",
            "decided by  DestinationRule b/c at m.yaml:9:5",
            "came as     plaintext, protocols http/1.1, at listener 127.0.0.2_80",
            "Asked again with snapshot 0, in force now: no listener 127.0.0.2_80 any more.",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn what_is_nobodys_policy_has_advice_from_its_facts() {
        for (reason, says) in [
            (
                Reason::ConnectRefused,
                "Nothing listens at 127.0.0.4:80 (`ss -ltn` there): start it, or correct its address in DestinationRule b/c (m.yaml:9:5).",
            ),
            (
                Reason::UnknownCa,
                "This sidecar trusts CN=root, and none of them signed the certificate of 127.0.0.4:80.",
            ),
        ] {
            let record = Record { sniffed: None, ..record(reason) };
            let text = explained(&record).prose();
            assert!(text.contains(&format!("What helps: {says}")), "{text}");
            let json = explained(&record).json();
            assert_eq!(
                (&json["remedies"][0]["verified"], &json["refused_now"]),
                (&false.into(), &Value::Null)
            );
        }
    }
}
