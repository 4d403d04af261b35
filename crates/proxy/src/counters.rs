//! A core's counters: one writer, the core, with plain relaxed stores; summed when somebody asks. No label here comes
//! from a client.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sidering_policy::{Direction, Version};

use crate::Reason;
use crate::histogram::{Distribution, Histogram, SECONDS};
use crate::series::{self, Shelf};
use crate::status::{Connections, Detection, Detections, Handshakes, Latency, Metrics, Refusals, Span};

/// A number that one core writes and anybody reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Everything that one core counts.
#[derive(Debug)]
pub(crate) struct Counters {
    inbound: Tally,
    outbound: Tally,
    pub(crate) retries: Counter,
    pub(crate) dry_run_denials: Counter,
    pub(crate) upstream_connects: Counter,
    pub(crate) upstream_idle: Counter,
    pub(crate) upstream_active: Counter,
    /// The version of the Snapshot that the core has.
    pub(crate) snapshot: Counter,
    /// The version of its credentials; 0 before the first.
    pub(crate) credentials: Counter,
    /// Requests and opaque connections.
    pub(crate) traffic: Shelf,
}

/// The part that exists once per direction.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By the reason's discriminant.
    refusals: Box<[Counter]>,
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) mutual_tls: Counter,
    pub(crate) plaintext: Counter,
    pub(crate) full_handshakes: Counter,
    pub(crate) resumed_handshakes: Counter,
    /// By the outcome's discriminant.
    detected: [Counter; Detection::ALL.len()],
    /// By the span's discriminant.
    spans: [Histogram; Span::ALL.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            inbound: Tally::new(),
            outbound: Tally::new(),
            retries: Counter::default(),
            dry_run_denials: Counter::default(),
            upstream_connects: Counter::default(),
            upstream_idle: Counter::default(),
            upstream_active: Counter::default(),
            snapshot: Counter::default(),
            credentials: Counter::default(),
            traffic: Shelf::default(),
        }
    }

    pub(crate) fn of(&self, direction: Direction) -> &Tally {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            refusals: Reason::ALL.iter().map(|_| Counter::default()).collect(),
            opened: Counter::default(),
            closed: Counter::default(),
            mutual_tls: Counter::default(),
            plaintext: Counter::default(),
            full_handshakes: Counter::default(),
            resumed_handshakes: Counter::default(),
            detected: Default::default(),
            spans: std::array::from_fn(|_| Histogram::new(&SECONDS)),
        }
    }

    pub(crate) fn refusal(&self, reason: Reason) {
        self.refusals[reason as usize].add(1);
    }

    /// What the first bytes of a connection were.
    pub(crate) fn detected(&self, what: Detection) {
        self.detected[what as usize].add(1);
    }

    /// Where time went.
    pub(crate) fn took(&self, span: Span, time: Duration) {
        self.spans[span as usize].observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A completed handshake.
    pub(crate) fn handshake(&self, resumed: bool) {
        if resumed { self.resumed_handshakes.add(1) } else { self.full_handshakes.add(1) }
    }
}

/// Adds up what all cores counted.
pub(crate) fn sum<'a>(cores: impl Iterator<Item = &'a Counters> + Clone) -> Metrics {
    let total = |counter: fn(&Counters) -> &Counter| cores.clone().map(|core| counter(core).value()).sum();
    let mut metrics = Metrics {
        retries: total(|core| &core.retries),
        dry_run_denials: total(|core| &core.dry_run_denials),
        upstream_connects: total(|core| &core.upstream_connects),
        upstream_idle: total(|core| &core.upstream_idle),
        upstream_active: total(|core| &core.upstream_active),
        snapshot: Version(cores.clone().map(|core| core.snapshot.value()).min().unwrap_or(0)),
        ..Metrics::default()
    };
    metrics.traffic = series::sum(cores.clone().map(|core| &core.traffic));
    metrics.traffic_unnamed = cores.clone().any(|core| core.traffic.is_full());
    for direction in [Direction::Inbound, Direction::Outbound] {
        let parts: Vec<&Tally> = cores.clone().map(|core| core.of(direction)).collect();
        sum_direction(&mut metrics, direction, &parts);
    }
    metrics
}

fn sum_direction(metrics: &mut Metrics, direction: Direction, parts: &[&Tally]) {
    let total = |counter: fn(&Tally) -> &Counter| parts.iter().map(|part| counter(part).value()).sum();
    metrics.connections.push(Connections {
        direction,
        opened: total(|part| &part.opened),
        closed: total(|part| &part.closed),
        mutual_tls: total(|part| &part.mutual_tls),
        plaintext: total(|part| &part.plaintext),
    });
    metrics.handshakes.push(Handshakes {
        direction,
        full: total(|part| &part.full_handshakes),
        resumed: total(|part| &part.resumed_handshakes),
    });
    for &outcome in Detection::ALL {
        let count = parts.iter().map(|part| part.detected[outcome as usize].value()).sum();
        metrics.detections.push(Detections { direction, outcome, count });
    }
    for &span in Span::ALL {
        let mut time = Distribution::new(&SECONDS);
        parts.iter().for_each(|part| part.spans[span as usize].add_to(&mut time));
        metrics.latencies.push(Latency { direction, span, time });
    }
    for &reason in Reason::ALL {
        let count = parts.iter().map(|part| part.refusals[reason as usize].value()).sum();
        if count > 0 {
            metrics.refusals.push(Refusals { direction, reason, count });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_summed() {
        let cores = [Counters::new(), Counters::new()];
        for core in &cores {
            core.of(Direction::Outbound).refusal(Reason::ConnectRefused);
            core.of(Direction::Inbound).detected(Detection::Tls);
            core.of(Direction::Inbound).took(Span::Sniff, Duration::from_micros(2));
            core.upstream_idle.add(2);
        }
        cores[0].snapshot.set(2);
        cores[1].snapshot.set(1);

        let metrics = sum(cores.iter());
        let refused = Refusals { direction: Direction::Outbound, reason: Reason::ConnectRefused, count: 2 };
        assert_eq!(metrics.refusals, [refused]);
        let tls = Detections { direction: Direction::Inbound, outcome: Detection::Tls, count: 2 };
        assert!(metrics.detections.contains(&tls), "{:?}", metrics.detections);
        let sniffed = |it: &&Latency| it.direction == Direction::Inbound && it.span == Span::Sniff;
        assert_eq!(metrics.latencies.iter().find(sniffed).unwrap().time.sum, 4_000);
        assert_eq!(metrics.upstream_idle, 4);
        assert_eq!(metrics.snapshot, Version(1), "in force is what every core has");
    }

    #[test]
    fn a_reason_counts_at_its_own_place() {
        for (place, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
