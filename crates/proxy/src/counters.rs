//! A core's counters: one writer, the core, with plain relaxed stores; summed when somebody asks. No label here comes
//! from a client.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sidering_policy::{Direction, Version};

use crate::Reason;
use crate::status::{Connections, Handshakes, Metrics, Refusals, Requests, Security};

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
}

/// The part that exists once per direction.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By security (mutual TLS first), then by status code.
    requests: [Box<[Counter]>; 2],
    /// By the reason's discriminant.
    refusals: Box<[Counter]>,
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) mutual_tls: Counter,
    pub(crate) plaintext: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) full_handshakes: Counter,
    pub(crate) resumed_handshakes: Counter,
}

/// Status codes are below this; what a peer sends beyond is counted as 0.
const CODES: usize = 600;

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
        let counters = |n| std::iter::repeat_with(Counter::default).take(n).collect::<Box<[Counter]>>();
        Self {
            requests: [counters(CODES), counters(CODES)],
            refusals: counters(Reason::ALL.len()),
            opened: Counter::default(),
            closed: Counter::default(),
            mutual_tls: Counter::default(),
            plaintext: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            full_handshakes: Counter::default(),
            resumed_handshakes: Counter::default(),
        }
    }

    pub(crate) fn request(&self, security: Security, code: u16) {
        let codes = &self.requests[security as usize];
        codes.get(usize::from(code)).unwrap_or(&codes[0]).add(1);
    }

    pub(crate) fn refusal(&self, reason: Reason) {
        self.refusals[reason as usize].add(1);
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
        received_bytes: total(|part| &part.received_bytes),
        sent_bytes: total(|part| &part.sent_bytes),
    });
    metrics.handshakes.push(Handshakes {
        direction,
        full: total(|part| &part.full_handshakes),
        resumed: total(|part| &part.resumed_handshakes),
    });
    for security in [Security::MutualTls, Security::None] {
        for code in 0..CODES {
            let count = parts.iter().map(|part| part.requests[security as usize][code].value()).sum();
            if count > 0 {
                metrics.requests.push(Requests { direction, security, code: code as u16, count });
            }
        }
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
    fn cores_are_summed_and_codes_are_bounded() {
        let cores = [Counters::new(), Counters::new()];
        for core in &cores {
            core.of(Direction::Inbound).request(Security::MutualTls, 200);
            core.of(Direction::Outbound).refusal(Reason::ConnectRefused);
            core.upstream_idle.add(2);
        }
        cores[1].of(Direction::Inbound).request(Security::None, 999);
        cores[0].snapshot.set(2);
        cores[1].snapshot.set(1);

        let metrics = sum(cores.iter());
        let direction = Direction::Inbound;
        let request = |security, code, count| Requests { direction, security, code, count };
        assert_eq!(metrics.requests, [request(Security::MutualTls, 200, 2), request(Security::None, 0, 1)]);
        let refused = Refusals { direction: Direction::Outbound, reason: Reason::ConnectRefused, count: 2 };
        assert_eq!(metrics.refusals, [refused]);
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
