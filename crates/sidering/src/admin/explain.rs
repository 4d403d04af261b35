//! A record in prose: what was refused, who was at the other end, which line decided, who was expected instead.

use std::fmt::Write;

use sidering_policy::Direction;
use sidering_proxy::{OriginText, Record};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// For an operator. Whatever came from a peer is escaped.
pub(super) fn prose(record: &Record) -> String {
    let mut text = headline(record);
    let mut line = |what: &str, value: &str| {
        let _ = write!(text, "\n  {what:<10} {value}");
    };
    if !record.detail.is_empty() {
        line("why", &escaped(&record.detail));
    }
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
            line("presented", &format!("{names} (serial {})", presented.serial));
        }
        None => {}
    }
    if let Some(origin) = &record.origin {
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
    if let Some(name) = &record.server_name {
        line("SNI", &escaped(name));
    }
    line("snapshot", &format!("{}, record {}", record.snapshot, record.id));
    text
}

fn headline(record: &Record) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(record.time) * 1_000_000).ok();
    let at = at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    let peer = record.peer.map_or_else(|| "a local peer".to_owned(), |peer| peer.to_string());
    let to = record.destination.map(|destination| format!(" to {destination}")).unwrap_or_default();
    let direction = match record.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    let phase = format!("{:?}", record.phase).to_lowercase();
    format!("{at}: {} ({direction}, {phase}) from {peer}{to}", record.reason.name())
}

fn named(origin: &OriginText) -> String {
    match &origin.position {
        Some(position) => format!("{} {} at {position}", origin.kind, origin.label),
        None => format!("{} {}", origin.kind, origin.label),
    }
}

/// No peer writes control characters into an operator's terminal.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use sidering_proxy::{Expected, Phase, Presented, Reason, RequestLine};

    use super::*;

    #[test]
    fn a_refusal_reads_as_a_story() {
        let record = Record {
            id: 7,
            time: 0,
            direction: Direction::Outbound,
            phase: Phase::Naming,
            reason: Reason::ALL[0],
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
                not_after: 0,
            }),
            origin: Some(OriginText {
                kind: "AuthorizationPolicy".into(),
                label: "b/deny[0]".into(),
                position: Some("m.yaml:9:5".into()),
            }),
            policies: Vec::new(),
            request: Some(RequestLine { method: "GET".into(), host: "h\u{1b}[31m".into(), path: "/".into() }),
            server_name: None,
            snapshot: 3,
            detail: String::new(),
        };
        let text = prose(&record);
        assert!(
            text.starts_with("1970-01-01T00:00:00Z: no-listener (outbound, naming) from 127.0.0.3:4000"),
            "{text}"
        );
        for part in [
            "expected   spiffe://a/ns/b/sa/c (endpoint 127.0.0.4 (m.yaml:3:1))",
            "presented  spiffe://a/ns/b/sa/d (serial 0A)",
            "decided by AuthorizationPolicy b/deny[0] at m.yaml:9:5",
            "GET / to host h\\u{1b}[31m",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
