//! `/latency`: where the sidecar's time goes, so that "is it the sidecar?" is one question.

use serde_json::{Map, Value, json};
use sidering_policy::Direction;
use sidering_proxy::{Latency, Span};

const DIRECTIONS: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

/// By direction and phase: how often, and seconds at the median, at p99 and on average.
pub(super) fn json(latencies: &[Latency]) -> Value {
    let all = DIRECTIONS
        .map(|direction| (direction.name().to_owned(), of(latencies, direction).map(phase).collect()));
    Value::Object(Map::from_iter(all))
}

fn of(latencies: &[Latency], direction: Direction) -> impl Iterator<Item = &Latency> {
    latencies.iter().filter(move |latency| latency.direction == direction)
}

fn phase(latency: &Latency) -> (String, Value) {
    let time = &latency.time;
    let figures = json!({
        "count": time.count(),
        "p50": time.quantile(0.5),
        "p99": time.quantile(0.99),
        "mean": (time.count() > 0).then(|| time.sum as f64 / time.scale.per_unit / time.count() as f64),
        "whose": whose(latency.span),
    });
    (latency.span.name().to_owned(), figures)
}

/// The same for people, in microseconds.
pub(super) fn text(latencies: &[Latency]) -> String {
    let mut lines = vec![format!(
        "{:9} {:11} {:>12} {:>10} {:>10}  whose time",
        "", "phase", "count", "p50 us", "p99 us"
    )];
    for direction in DIRECTIONS {
        let name = direction.name();
        for Latency { span, time, .. } in of(latencies, direction) {
            let shown =
                |q| time.quantile(q).map_or("-".to_owned(), |seconds| format!("{:.1}", seconds * 1e6));
            lines.push(format!(
                "{name:9} {:11} {:>12} {:>10} {:>10}  {}",
                span.name(),
                time.count(),
                shown(0.5),
                shown(0.99),
                whose(*span)
            ));
        }
    }
    lines.join("\n")
}

fn whose(span: Span) -> &'static str {
    match span {
        Span::Accept | Span::Authorize => "the sidecar's",
        Span::Own => "the sidecar's, and that of reading and writing bodies",
        Span::Sniff => "the client's",
        Span::Handshake => "the client's and the sidecar's",
        Span::Connect | Span::FirstByte => "the upstream's",
    }
}
