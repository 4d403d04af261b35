//! How much has been made of what was written. Hosts, ports, subsets and selectors multiply: a little YAML can ask for
//! more than there is memory.

use sidering_policy::Origin;

/// More than this is a mistake, or meant to do harm.
const MOST: usize = 1_000_000;

/// What was made so far, and whose part was too much.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    made: usize,
    excess: Option<Origin>,
}

impl Sum {
    /// Counts `more`. `false`: it is too much, so do not make it.
    pub(crate) fn takes(&mut self, more: usize, origin: impl FnOnce() -> Origin) -> bool {
        self.made = self.made.saturating_add(more);
        if self.made > MOST && self.excess.is_none() {
            self.excess = Some(origin());
        }
        self.excess.is_none()
    }

    /// The first that was too much.
    pub(crate) fn excess(&self) -> Option<&Origin> {
        self.excess.as_ref()
    }
}
