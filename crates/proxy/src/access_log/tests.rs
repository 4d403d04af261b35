//! Istio's text format to the byte, JSON with the same keys, and nothing a client sends may break a line.

use std::time::{Duration, SystemTime};

use super::{Entry, open, text, write_one};
use crate::{AccessLog, LogFormat, Reason};

fn entry() -> Entry {
    let some = |text: &str| Some(text.to_owned());
    Entry {
        start_time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        method: some("GET"),
        path: some("/pay?x=1"),
        protocol: Some("HTTP/1.1"),
        response_code: 403,
        response_flags: "-",
        response_code_details: some("rbac_access_denied_matched_policy[none]"),
        connection_termination_details: None,
        upstream_transport_failure_reason: None,
        bytes_received: 0,
        bytes_sent: 19,
        duration: 2,
        upstream_service_time: None,
        x_forwarded_for: None,
        user_agent: some("curl/8"),
        request_id: some("id"),
        authority: some("payments"),
        upstream_host: None,
        upstream_cluster: some("inbound|8080||"),
        upstream_local_address: None,
        downstream_local_address: "127.0.0.2:8080".into(),
        downstream_remote_address: "127.0.0.1:4000".into(),
        requested_server_name: some("outbound_.8080_._.payments"),
        route_name: some("default"),
        direction: "inbound",
        connection_id: 7,
        reason: Some(Reason::NotAllowedByPolicy),
        policy: None,
        would_deny: None,
        source_principal: None,
        destination_principal: None,
        naming: None,
        downstream_tls: None,
        upstream_tls: None,
    }
}

#[test]
fn the_text_format_is_istios() {
    assert_eq!(
        text(&entry()),
        "[2023-11-14T22:13:20.123Z] \"GET /pay?x=1 HTTP/1.1\" 403 - rbac_access_denied_matched_policy[none] - \"-\" \
         0 19 2 - \"-\" \"curl/8\" \"id\" \"payments\" \"-\" inbound|8080|| - 127.0.0.2:8080 127.0.0.1:4000 \
         outbound_.8080_._.payments default\n"
    );
}

#[test]
fn no_client_breaks_a_line() {
    let mut forged = entry();
    forged.user_agent = Some("a\"\n[2023] \u{202e}\\".into());
    let line = text(&forged);
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.contains(r#""a\"\n[2023] \u{202e}\\""#), "{line}");
}

#[test]
fn no_client_turns_a_terminal_around_in_json_either() {
    let mut forged = entry();
    let sent = "a\"\n\u{202e}\u{7f}\u{1f600}é";
    forged.user_agent = Some(sent.into());
    let mut line = Vec::new();
    write_one(&mut line, &forged, LogFormat::Json).unwrap();
    assert!(line.iter().all(|byte| matches!(byte, b'\n' | 0x20..0x7f)), "{}", String::from_utf8_lossy(&line));
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(json["user_agent"], sent, "nothing is lost");
}

#[test]
fn entries_are_written_by_the_thread_and_survive_its_end() {
    let path = std::env::temp_dir().join(format!("sidering-access-log-{}", std::process::id()));
    let (sink, writer) = open(&AccessLog { path: path.clone(), format: LogFormat::Json }).unwrap();
    sink.write(Box::new(entry()));
    drop(sink);
    assert_eq!(writer.dropped(), 0);
    writer.join();
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(
        (&json["start_time"], &json["reason"]),
        (&"2023-11-14T22:13:20.123Z".into(), &"not-allowed-by-policy".into())
    );
    assert_eq!(json["connection_id"], 7);
}
