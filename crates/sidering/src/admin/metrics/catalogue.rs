//! Every metric: its name, what it is labelled with and what it means. docs/metrics.md is made of this table.

use prometheus_client::metrics::MetricType;

/// A row of the table.
pub(super) struct Metric {
    /// Counters are shown with `_total` at its end.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    /// In the order in which they are shown.
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(super) const $id: Metric =
            Metric { name: $name, kind: MetricType::$kind, labels: $labels, help: $help };)*

        #[cfg(test)]
        const ALL: &[Metric] = &[$($id),*];
    };
}

/// Istio's labels of a connection's both ends, in the order of its own documentation.
macro_rules! ends {
    ($($more:literal)*) => {
        &[
            "reporter",
            "source_workload",
            "source_canonical_service",
            "source_canonical_revision",
            "source_workload_namespace",
            "source_principal",
            "source_app",
            "source_version",
            "source_cluster",
            "destination_workload",
            "destination_workload_namespace",
            "destination_principal",
            "destination_app",
            "destination_version",
            "destination_service",
            "destination_canonical_service",
            "destination_canonical_revision",
            "destination_service_name",
            "destination_service_namespace",
            "destination_cluster",
            "request_protocol",
            $($more,)*
            "response_flags",
            "connection_security_policy",
        ]
    };
}

const HTTP: &[&str] = ends!["response_code" "grpc_response_status"];
const TCP: &[&str] = ends![];

metrics! {
    REQUESTS Counter "istio_requests" HTTP, "Requests answered; response_code 0: the exchange ended without a status";
    DURATION Histogram "istio_request_duration_milliseconds" HTTP, "From a request's head to the end of its response";
    REQUEST_BYTES Histogram "istio_request_bytes" HTTP, "Bodies of requests";
    RESPONSE_BYTES Histogram "istio_response_bytes" HTTP, "Bodies of responses";
    TCP_OPENED Counter "istio_tcp_connections_opened" TCP, "Opaque connections that were joined to their upstream, or refused after they were accepted";
    TCP_CLOSED Counter "istio_tcp_connections_closed" TCP, "Those that ended";
    TCP_RECEIVED Counter "istio_tcp_received_bytes" TCP, "Payload of opaque connections from the downstream, as it moves";
    TCP_SENT Counter "istio_tcp_sent_bytes" TCP, "Payload of opaque connections to the downstream, as it moves";

    CONNECTIONS_OPENED Counter "sidering_connections_opened" &["direction"], "Downstream connections taken, of every protocol";
    CONNECTIONS_CLOSED Counter "sidering_connections_closed" &["direction"], "Downstream connections that ended";
    CONNECTIONS_SECURITY Counter "sidering_connections_security" &["direction", "connection_security_policy"], "Downstream connections by how they came; inbound `none` are plaintext peers";
    DETECTIONS Counter "sidering_detections" &["direction", "outcome"], "What connections began with, where their listener had to know";
    REFUSALS Counter "sidering_refusals" &["direction", "reason"], "Refusals and failures; docs/reasons.md explains each";
    HANDSHAKES Counter "sidering_handshakes" &["direction", "kind"], "TLS handshakes completed, `full` or `resumed`";
    PHASES Histogram "sidering_phase_duration_seconds" &["direction", "phase"], "Where time went: `sidering status --latency` in full";
    DRY_RUN_DENIALS Counter "sidering_dry_run_denials" &[], "Allowed, and a policy with istio.io/dry-run would have denied it";
    RETRIES Counter "sidering_retries" &[], "Requests and connections that were tried again or elsewhere";
    UPSTREAM_CONNECTS Counter "sidering_upstream_connects" &[], "Upstream connections made";
    UPSTREAM_IDLE Gauge "sidering_upstream_idle" &[], "Idle upstream connections in the pools";
    UPSTREAM_ACTIVE Gauge "sidering_upstream_active" &[], "Exchanges and opaque connections under way upstream";
    LOG_DROPPED Counter "sidering_access_log_dropped" &[], "Access log lines that could not be written in time";
    UNNAMED Gauge "sidering_series_bounded" &[], "1 once there was so much traffic of different kinds that some is counted without its peer and destination";

    BUILD Gauge "sidering_build_info" &["version", "driver", "backend"], "Always 1";
    READY Gauge "sidering_ready" &[], "1 when ready for traffic";
    SNAPSHOT_VERSION Gauge "sidering_snapshot_version" &[], "The configuration that every core has";
    SNAPSHOT_AGE Gauge "sidering_snapshot_age_seconds" &[], "Since it came into force";
    CONFIG_STALE Gauge "sidering_config_stale" &["of"], "1 while newer files are refused: alert on this";
    CONFIG_RELOADS Counter "sidering_config_reloads" &["of", "result"], "Loads by outcome, the first included";
    CREDENTIALS_VERSION Gauge "sidering_credentials_version" &[], "Grows with each rotation";
    CERTIFICATE_EXPIRY Gauge "sidering_certificate_expiry_seconds" &["kind", "serial"], "Until expiry of leaf, intermediate and root; negative after it";
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shown(metric: &Metric) -> (String, &'static str) {
        match metric.kind {
            MetricType::Counter => (format!("{}_total", metric.name), "counter"),
            MetricType::Histogram => (metric.name.to_owned(), "histogram"),
            _ => (metric.name.to_owned(), "gauge"),
        }
    }

    fn table() -> String {
        let row = |metric: &Metric| {
            let (name, kind) = shown(metric);
            let labels = match metric.labels {
                labels if labels == HTTP => "Istio's, of requests".to_owned(),
                labels if labels == TCP => "Istio's, of connections".to_owned(),
                labels => labels.join(", "),
            };
            format!("| `{name}` | {kind} | {labels} | {} |\n", metric.help)
        };
        let head = "| metric | type | labels | |\n|---|---|---|---|\n";
        head.to_owned() + &ALL.iter().map(row).collect::<String>()
    }

    /// `SIDERING_WRITE_DOCS=1` writes the table anew.
    #[test]
    fn the_document_has_the_catalogue() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("<!-- catalogue -->\n").expect("its begin is marked");
        let (written, after) = rest.split_once("<!-- end -->\n").expect("its end is marked");
        if std::env::var_os("SIDERING_WRITE_DOCS").is_some() {
            let text = format!("{before}<!-- catalogue -->\n{}<!-- end -->\n{after}", table());
            return std::fs::write(&path, text).unwrap();
        }
        assert_eq!(written, table(), "docs/metrics.md is behind: SIDERING_WRITE_DOCS=1 writes it anew");
        for label in HTTP {
            assert!(after.contains(&format!("`{label}`")), "{label} is not explained in docs/metrics.md");
        }
    }

    #[test]
    fn a_name_is_given_once() {
        for (place, metric) in ALL.iter().enumerate() {
            assert!(ALL[..place].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
    }
}
