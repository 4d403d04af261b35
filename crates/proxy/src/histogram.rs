//! Distributions of times and sizes: counted by one core, read and added up by anybody.

use crate::counters::Counter;

/// The buckets of a histogram, and how it is shown.
#[derive(Debug, PartialEq)]
pub struct Scale {
    /// Upper limits of the buckets, inclusive, in what is counted: microseconds or bytes. One more bucket has the rest.
    pub limits: &'static [u64],
    /// How many of what is counted make one of what is shown.
    pub per_unit: f64,
}

/// Durations in microseconds, shown as milliseconds, in the buckets that Envoy has in Istio.
pub(crate) static MILLISECONDS: Scale = Scale {
    limits: &[
        500,
        1_000,
        5_000,
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        600_000_000,
        1_800_000_000,
        3_600_000_000,
    ],
    per_unit: 1_000.0,
};

/// Bytes, in the same buckets but for the first: nobody sends half a byte.
pub(crate) static BYTES: Scale = Scale {
    limits: &[
        1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
        1_800_000, 3_600_000,
    ],
    per_unit: 1.0,
};

/// Durations in nanoseconds, shown as seconds: fine enough for percentiles of what a sidecar does itself.
pub(crate) static SECONDS: Scale = Scale {
    limits: &[
        1_000,
        2_000,
        3_000,
        5_000,
        7_500,
        10_000,
        15_000,
        20_000,
        30_000,
        50_000,
        75_000,
        100_000,
        150_000,
        200_000,
        300_000,
        500_000,
        750_000,
        1_000_000,
        1_500_000,
        2_000_000,
        3_000_000,
        5_000_000,
        7_500_000,
        10_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
        200_000_000,
        500_000_000,
        1_000_000_000,
        2_000_000_000,
        5_000_000_000,
        10_000_000_000,
        30_000_000_000,
    ],
    per_unit: 1e9,
};

/// What one core has seen.
#[derive(Debug)]
pub(crate) struct Histogram {
    scale: &'static Scale,
    counts: Box<[Counter]>,
    sum: Counter,
}

/// What several cores have seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Of its buckets.
    pub scale: &'static Scale,
    /// How often each bucket was hit; the last is above every limit.
    pub counts: Vec<u64>,
    /// Of everything that was observed.
    pub sum: u64,
}

impl Histogram {
    pub(crate) fn new(scale: &'static Scale) -> Self {
        let counts = std::iter::repeat_with(Counter::default).take(scale.limits.len() + 1).collect();
        Self { scale, counts, sum: Counter::default() }
    }

    pub(crate) fn observe(&self, value: u64) {
        let bucket = self.scale.limits.partition_point(|&limit| limit < value);
        self.counts[bucket].add(1);
        self.sum.add(value);
    }

    /// Adds this core's share.
    pub(crate) fn add_to(&self, all: &mut Distribution) {
        for (sum, count) in all.counts.iter_mut().zip(&self.counts) {
            *sum += count.value();
        }
        all.sum = all.sum.wrapping_add(self.sum.value());
    }
}

impl Distribution {
    pub(crate) fn new(scale: &'static Scale) -> Self {
        Self { scale, counts: vec![0; scale.limits.len() + 1], sum: 0 }
    }

    /// How many values were observed.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value below which the share `q` of all lies, in what is shown; linear within its bucket, and at most the
    /// last limit. `None` where nothing was observed.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count() as f64;
        let mut below = 0;
        for (bucket, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (below + count) as f64 >= rank {
                let limit = |bucket: usize| self.scale.limits.get(bucket).map(|&limit| limit as f64);
                let from = bucket.checked_sub(1).and_then(limit).unwrap_or(0.0);
                let to = limit(bucket).unwrap_or(from);
                let share = (rank - below as f64) / count as f64;
                return Some((from + (to - from) * share) / self.scale.per_unit);
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(values: impl IntoIterator<Item = u64>) -> Distribution {
        let histogram = Histogram::new(&SECONDS);
        values.into_iter().for_each(|value| histogram.observe(value));
        let mut all = Distribution::new(&SECONDS);
        histogram.add_to(&mut all);
        all
    }

    #[test]
    fn a_limit_belongs_to_its_own_bucket_and_the_last_has_the_rest() {
        let all = observed([0, 1_000, 1_001, 2_000, u64::MAX / 2]);
        assert_eq!(all.counts[..3], [2, 2, 0]);
        assert_eq!(all.counts.last(), Some(&1));
        assert_eq!((all.count(), all.sum), (5, 4_001 + u64::MAX / 2));
    }

    #[test]
    fn quantiles_are_linear_within_a_bucket() {
        assert_eq!(observed([]).quantile(0.5), None);
        let all = observed((0..100).map(|n| if n < 98 { 1_500 } else { 400_000 }));
        assert!((all.quantile(0.49).unwrap() - 1.5e-6).abs() < 1e-9, "{all:?}");
        assert!((all.quantile(0.99).unwrap() - 4e-4).abs() < 1e-9, "{all:?}");
        assert_eq!(observed([u64::MAX / 2]).quantile(0.5), Some(30.0), "no more is known");
    }

    #[test]
    fn limits_grow() {
        for scale in [&MILLISECONDS, &BYTES, &SECONDS] {
            assert!(scale.limits.is_sorted_by(|a, b| a < b));
        }
    }
}
