//! Which CPU each worker runs on. Pinning helps where a worker has a CPU to itself, and harms where several
//! processes would all pin themselves to the first.

use core_affinity::CoreId;

use crate::Failure;

/// Whether workers stay on one CPU each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pin {
    /// Only where the affinity mask has no more CPUs than there are workers and the cgroup CPU quota is whole.
    #[default]
    Auto,
    /// Worker n on the n-th CPU of the affinity mask, from the start again where there are fewer.
    Yes,
    /// Never.
    No,
    /// Worker n on the n-th of these CPUs.
    Cpus(Vec<usize>),
}

/// Where one worker goes: a CPU, or wherever the scheduler likes.
pub(crate) struct Place(Option<usize>);

impl Place {
    /// Moves the current thread there.
    pub(crate) fn take(&self) -> Result<(), Failure> {
        match self.0 {
            Some(id) if !core_affinity::set_for_current(CoreId { id }) => {
                Err(Failure::Pinning { why: format!("the kernel refused CPU {id}") })
            }
            _ => Ok(()),
        }
    }
}

impl Pin {
    /// A place for each of `n` workers.
    pub(crate) fn places(&self, n: usize) -> Result<Vec<Place>, Failure> {
        let mask: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        Ok(self.cpus(n, &mask, Quota::read())?.into_iter().map(Place).collect())
    }

    fn cpus(&self, n: usize, mask: &[usize], quota: Quota) -> Result<Vec<Option<usize>>, Failure> {
        match self {
            Self::No => Ok(vec![None; n]),
            Self::Auto if mask.len() > n || quota == Quota::Fractional => Ok(vec![None; n]),
            Self::Auto | Self::Yes if mask.is_empty() => Ok(vec![None; n]),
            Self::Auto | Self::Yes => Ok(mask.iter().cycle().take(n).map(|&cpu| Some(cpu)).collect()),
            Self::Cpus(cpus) if cpus.len() < n => {
                Err(Failure::Pinning { why: format!("{n} workers, but only {} CPUs are listed", cpus.len()) })
            }
            Self::Cpus(cpus) => match cpus.iter().find(|cpu| !mask.contains(cpu)) {
                Some(cpu) => {
                    Err(Failure::Pinning { why: format!("CPU {cpu} is not among those allowed, {mask:?}") })
                }
                None => Ok(cpus.iter().take(n).map(|&cpu| Some(cpu)).collect()),
            },
        }
    }
}

/// The CPU time that the cgroup allows per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quota {
    /// None, or a whole number of CPUs.
    Whole,
    /// A part of a CPU: a pinned worker would be throttled while other CPUs are idle.
    Fractional,
}

impl Quota {
    /// Of this process' cgroup and all above it: v2's `cpu.max`, or v1's `cpu.cfs_quota_us` as seen inside a
    /// container.
    fn read() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let v2 = std::path::Path::new(own).ancestors().filter_map(|group| {
            std::fs::read_to_string(std::path::Path::new("/sys/fs/cgroup").join(group).join("cpu.max")).ok()
        });
        let read = |name| std::fs::read_to_string(format!("/sys/fs/cgroup/cpu/cpu.cfs_{name}_us"));
        let v1 =
            read("quota").and_then(|quota| read("period").map(|period| format!("{quota} {period}"))).ok();
        if v2.chain(v1).any(|limit| Self::parse(&limit) == Self::Fractional) {
            Self::Fractional
        } else {
            Self::Whole
        }
    }

    /// `quota period` in microseconds; `max` or a negative quota is none.
    fn parse(limit: &str) -> Self {
        let mut numbers = limit.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(quota)), Some(Ok(period))) if period > 0 && quota % period != 0 => Self::Fractional,
            _ => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_pins_only_where_each_worker_has_a_cpu_to_itself() {
        let auto = |n, mask: &[usize], quota| Pin::Auto.cpus(n, mask, quota).unwrap();
        assert_eq!(auto(2, &[4, 5], Quota::Whole), [Some(4), Some(5)]);
        assert_eq!(auto(1, &[4, 5], Quota::Whole), [None], "the mask has CPUs to spare");
        assert_eq!(auto(2, &[4, 5], Quota::Fractional), [None, None]);
        assert_eq!(auto(3, &[4, 5], Quota::Whole), [Some(4), Some(5), Some(4)]);
        assert_eq!(auto(1, &[], Quota::Whole), [None]);
    }

    #[test]
    fn listed_cpus_must_be_allowed_and_enough() {
        let listed = |cpus: &[usize], n| Pin::Cpus(cpus.to_vec()).cpus(n, &[0, 1], Quota::Whole);
        assert_eq!(listed(&[1, 0], 2).unwrap(), [Some(1), Some(0)]);
        assert!(matches!(listed(&[1], 2), Err(Failure::Pinning { .. })));
        assert!(matches!(listed(&[7], 1), Err(Failure::Pinning { .. })));
    }

    #[test]
    fn a_quota_is_whole_or_not() {
        for (limit, quota) in [
            ("max 100000", Quota::Whole),
            ("200000 100000", Quota::Whole),
            ("150000 100000", Quota::Fractional),
            ("50000 100000", Quota::Fractional),
            ("-1 100000", Quota::Whole),
            ("", Quota::Whole),
        ] {
            assert_eq!(Quota::parse(limit), quota, "{limit:?}");
        }
    }
}
