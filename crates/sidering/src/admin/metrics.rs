//! `/stats/prometheus`: Istio's metrics under Istio's names, and ours. Built anew for each scrape from what the cores
//! counted; the number of series is bounded whatever peers send.

mod catalogue;
mod istio;

use std::fmt;
use std::time::SystemTime;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use sidering_policy::Direction;
use sidering_proxy::{Distribution, Metrics};

use self::catalogue::{self as all, Metric};
use super::certs::Certs;
use crate::state::State;

/// OpenMetrics, which Prometheus reads.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// One scrape.
pub(super) fn text(state: &State) -> String {
    let metrics = state.setup.proxy.metrics();
    let mut page = Page::default();
    istio::traffic(&mut page, &metrics, state);
    data_path(&mut page, &metrics);
    control(&mut page, &metrics, state);
    page.text()
}

fn data_path(page: &mut Page, metrics: &Metrics) {
    let connections = || metrics.connections.iter();
    page.counters(
        &all::CONNECTIONS_OPENED,
        connections().map(|it| (vec![direction(it.direction)], it.opened)),
    );
    page.counters(
        &all::CONNECTIONS_CLOSED,
        connections().map(|it| (vec![direction(it.direction)], it.closed)),
    );
    page.counters(
        &all::CONNECTIONS_SECURITY,
        connections().flat_map(|it| {
            let labels = |policy: &str| {
                vec![direction(it.direction), ("connection_security_policy", policy.to_owned())]
            };
            [(labels("mutual_tls"), it.mutual_tls), (labels("none"), it.plaintext)]
        }),
    );
    page.counters(
        &all::DETECTIONS,
        metrics
            .detections
            .iter()
            .map(|it| (vec![direction(it.direction), ("outcome", it.outcome.name().to_owned())], it.count)),
    );
    page.counters(
        &all::REFUSALS,
        metrics
            .refusals
            .iter()
            .map(|it| (vec![direction(it.direction), ("reason", it.reason.name().to_owned())], it.count)),
    );
    page.counters(
        &all::HANDSHAKES,
        metrics.handshakes.iter().flat_map(|it| {
            let labels = |kind: &str| vec![direction(it.direction), ("kind", kind.to_owned())];
            [(labels("full"), it.full), (labels("resumed"), it.resumed)]
        }),
    );
    page.histograms(
        &all::PHASES,
        metrics
            .latencies
            .iter()
            .map(|it| (vec![direction(it.direction), ("phase", it.span.name().to_owned())], it.time.clone())),
    );
    page.counter(&all::DRY_RUN_DENIALS, metrics.dry_run_denials);
    page.counter(&all::RETRIES, metrics.retries);
    page.counter(&all::UPSTREAM_CONNECTS, metrics.upstream_connects);
    page.gauge(&all::UPSTREAM_IDLE, metrics.upstream_idle as f64);
    page.gauge(&all::UPSTREAM_ACTIVE, metrics.upstream_active as f64);
    page.counter(&all::LOG_DROPPED, metrics.log_dropped);
    page.gauge(&all::UNNAMED, f64::from(metrics.traffic_unnamed));
}

fn control(page: &mut Page, metrics: &Metrics, state: &State) {
    let resources = state.resources();
    let identity = state.identity();
    let data_path = state.setup.proxy.status();
    let stale = |kind: &str, stale: bool| (vec![("of", kind.to_owned())], f64::from(stale));
    let build = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("driver", data_path.driver),
        ("backend", data_path.backend),
    ];
    page.gauges(&all::BUILD, [(build.into(), 1.0)]);
    page.gauge(&all::READY, f64::from(state.unready().is_none()));
    page.gauge(&all::SNAPSHOT_VERSION, metrics.snapshot.0 as f64);
    let age = SystemTime::now().duration_since(resources.since).unwrap_or_default();
    page.gauge(&all::SNAPSHOT_AGE, age.as_secs_f64());
    page.gauges(
        &all::CONFIG_STALE,
        [
            stale("resources", !resources.problems.is_empty()),
            stale("credentials", identity.problem.is_some()),
        ],
    );
    let loads = [("resources", resources.loads), ("credentials", identity.loads)];
    page.counters(
        &all::CONFIG_RELOADS,
        loads.into_iter().flat_map(|(of, loads)| {
            let labels = |result: &str| vec![("of", of.to_owned()), ("result", result.to_owned())];
            [(labels("accepted"), loads.accepted), (labels("rejected"), loads.rejected)]
        }),
    );
    page.gauge(&all::CREDENTIALS_VERSION, identity.credentials.version as f64);
    let certs = Certs::of(&identity);
    page.gauges(
        &all::CERTIFICATE_EXPIRY,
        certs.expiries().map(|(kind, serial, left)| {
            (vec![("kind", kind.to_owned()), ("serial", serial.to_owned())], left as f64)
        }),
    );
}

fn direction(direction: Direction) -> (&'static str, String) {
    ("direction", direction.name().to_owned())
}

/// A registry that is filled once and printed once.
#[derive(Default)]
struct Page(Registry);

/// All series of a metric.
struct Samples {
    kind: MetricType,
    series: Vec<(Labels, Value)>,
}

enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Distribution),
}

impl Page {
    fn counters(&mut self, metric: &Metric, samples: impl IntoIterator<Item = (Labels, u64)>) {
        self.add(metric, samples.into_iter().map(|(labels, value)| (labels, Value::Counter(value))));
    }

    fn gauges(&mut self, metric: &Metric, samples: impl IntoIterator<Item = (Labels, f64)>) {
        self.add(metric, samples.into_iter().map(|(labels, value)| (labels, Value::Gauge(value))));
    }

    fn histograms(&mut self, metric: &Metric, samples: impl IntoIterator<Item = (Labels, Distribution)>) {
        self.add(metric, samples.into_iter().map(|(labels, value)| (labels, Value::Histogram(value))));
    }

    fn counter(&mut self, metric: &Metric, value: u64) {
        self.counters(metric, [(Labels::new(), value)]);
    }

    fn gauge(&mut self, metric: &Metric, value: f64) {
        self.gauges(metric, [(Labels::new(), value)]);
    }

    fn add(&mut self, metric: &Metric, series: impl Iterator<Item = (Labels, Value)>) {
        let series: Vec<_> = series.collect();
        debug_assert!(
            series
                .iter()
                .all(|(labels, _)| labels.iter().map(|(name, _)| *name).eq(metric.labels.iter().copied())),
            "{} is labelled otherwise than the catalogue says",
            metric.name
        );
        self.0.register(metric.name, metric.help, Samples { kind: metric.kind, series });
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a String takes everything");
        text
    }
}

impl EncodeMetric for Samples {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, value) in &self.series {
            match labels.is_empty() {
                true => value.encode(&mut encoder)?,
                false => value.encode(&mut encoder.encode_family(labels)?)?,
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        type None = [(&'static str, &'static str); 0];
        match self {
            Self::Counter(value) => encoder.encode_counter::<None, _, u64>(value, Option::None),
            Self::Gauge(value) => encoder.encode_gauge(value),
            Self::Histogram(all) => {
                let unit = all.scale.per_unit;
                let limits = all.scale.limits.iter().map(|&limit| limit as f64 / unit).chain([f64::MAX]);
                let buckets: Vec<(f64, u64)> = limits.zip(all.counts.iter().copied()).collect();
                encoder.encode_histogram::<None>(all.sum as f64 / unit, all.count(), &buckets, Option::None)
            }
        }
    }
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} series", self.series.len())
    }
}
