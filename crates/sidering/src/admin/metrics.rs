//! `/stats/prometheus`: the data path's counters under our names and, where they mean the same, under Istio's. Built
//! anew for each scrape; no label comes from a client.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sidering_policy::Direction;
use sidering_proxy::Metrics;

use super::certs::Certs;
use crate::state::State;

/// OpenMetrics, which Prometheus reads.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// One scrape.
pub(super) fn text(state: &State) -> String {
    let metrics = state.setup.proxy.metrics();
    let mut page = Page::default();
    traffic(&mut page, &metrics);
    istio(&mut page, &metrics, state);
    control(&mut page, state);
    page.text()
}

fn traffic(page: &mut Page, metrics: &Metrics) {
    page.counters(
        "sidering_requests",
        "Requests answered",
        metrics.requests.iter().map(|requests| {
            let labels = vec![
                direction(requests.direction),
                ("code", requests.code.to_string()),
                ("connection_security_policy", requests.security.name().to_owned()),
            ];
            (labels, requests.count)
        }),
    );
    let connections = || metrics.connections.iter();
    page.counters(
        "sidering_connections_opened",
        "Downstream connections accepted",
        connections().map(|connections| (vec![direction(connections.direction)], connections.opened)),
    );
    page.counters(
        "sidering_connections_closed",
        "Downstream connections that ended",
        connections().map(|connections| (vec![direction(connections.direction)], connections.closed)),
    );
    page.counters(
        "sidering_connections_security",
        "Downstream connections by how they came",
        connections().flat_map(|it| {
            let labels = |policy: &str| {
                vec![direction(it.direction), ("connection_security_policy", policy.to_owned())]
            };
            [(labels("mutual_tls"), it.mutual_tls), (labels("none"), it.plaintext)]
        }),
    );
    page.counters(
        "sidering_refusals",
        "Refusals and failures; docs/reasons.md explains each",
        metrics.refusals.iter().map(|refusals| {
            (
                vec![direction(refusals.direction), ("reason", refusals.reason.name().to_owned())],
                refusals.count,
            )
        }),
    );
    page.counters(
        "sidering_handshakes",
        "TLS handshakes completed",
        metrics.handshakes.iter().flat_map(|it| {
            let labels = |kind: &str| vec![direction(it.direction), ("kind", kind.to_owned())];
            [(labels("full"), it.full), (labels("resumed"), it.resumed)]
        }),
    );
    page.counter("sidering_dry_run_denials", "Allowed, but not by a dry-run policy", metrics.dry_run_denials);
    page.counter("sidering_retries", "Requests sent again or elsewhere", metrics.retries);
    page.counter("sidering_upstream_connects", "Upstream connections made", metrics.upstream_connects);
    page.gauge("sidering_upstream_idle", "Idle upstream connections", metrics.upstream_idle.cast_signed());
    page.gauge(
        "sidering_upstream_active",
        "Upstream connections in use",
        metrics.upstream_active.cast_signed(),
    );
    page.counter("sidering_access_log_dropped", "Access log lines dropped", metrics.log_dropped);
    page.gauge(
        "sidering_snapshot_version",
        "Snapshot in force on every core",
        metrics.snapshot.0.cast_signed(),
    );
}

/// Istio's names, with the labels that are known here.
fn istio(page: &mut Page, metrics: &Metrics, state: &State) {
    let own = |direction: Direction| {
        let (reporter, side) = match direction {
            Direction::Inbound => (
                "destination",
                ["destination_workload", "destination_workload_namespace", "destination_principal"],
            ),
            Direction::Outbound => {
                ("source", ["source_workload", "source_workload_namespace", "source_principal"])
            }
        };
        let values = [
            state.setup.workload.name.to_string(),
            state.setup.workload.namespace.to_string(),
            state.setup.id.to_string(),
        ];
        let mut labels = vec![("reporter", reporter.to_owned())];
        labels.extend(side.into_iter().zip(values));
        labels
    };
    page.counters(
        "istio_requests",
        "Requests",
        metrics.requests.iter().map(|requests| {
            let mut labels = own(requests.direction);
            labels.push(("request_protocol", "http".to_owned()));
            labels.push(("response_code", requests.code.to_string()));
            labels.push(("connection_security_policy", requests.security.name().to_owned()));
            (labels, requests.count)
        }),
    );
    let connections = || metrics.connections.iter();
    page.counters(
        "istio_tcp_connections_opened",
        "Connections opened",
        connections().map(|connections| (own(connections.direction), connections.opened)),
    );
    page.counters(
        "istio_tcp_connections_closed",
        "Connections closed",
        connections().map(|connections| (own(connections.direction), connections.closed)),
    );
    page.counters(
        "istio_tcp_received_bytes",
        "Bytes of opaque TCP from the downstream",
        connections().map(|connections| (own(connections.direction), connections.received_bytes)),
    );
    page.counters(
        "istio_tcp_sent_bytes",
        "Bytes of opaque TCP to the downstream",
        connections().map(|connections| (own(connections.direction), connections.sent_bytes)),
    );
}

fn control(page: &mut Page, state: &State) {
    let resources = state.resources();
    let identity = state.identity();
    let stale = |kind: &str, stale: bool| (vec![("of", kind.to_owned())], i64::from(stale));
    page.gauge("sidering_ready", "1 when ready for traffic", i64::from(state.is_ready()));
    page.gauges(
        "sidering_config_stale",
        "1 while newer files are refused",
        [
            stale("resources", !resources.problems.is_empty()),
            stale("credentials", identity.problem.is_some()),
        ],
    );
    let loads = [("resources", resources.loads), ("credentials", identity.loads)];
    page.counters(
        "sidering_config_reloads",
        "Loads by outcome, the first included",
        loads.into_iter().flat_map(|(of, loads)| {
            let labels = |result: &str| vec![("of", of.to_owned()), ("result", result.to_owned())];
            [(labels("accepted"), loads.accepted), (labels("rejected"), loads.rejected)]
        }),
    );
    page.gauge(
        "sidering_credentials_version",
        "Rotations so far",
        identity.credentials.version.cast_signed(),
    );
    let certs = Certs::of(&identity);
    page.gauges(
        "sidering_certificate_expiry_seconds",
        "Seconds until expiry; negative after it",
        certs.expiries().map(|(kind, serial, left)| {
            (vec![("kind", kind.to_owned()), ("serial", serial.to_owned())], left)
        }),
    );
}

fn direction(direction: Direction) -> (&'static str, String) {
    let name = match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    ("direction", name.to_owned())
}

/// A registry that is filled once and printed once.
#[derive(Default)]
struct Page(Registry);

impl Page {
    fn counters(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    fn gauges(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, i64)>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a String takes everything");
        text
    }
}
