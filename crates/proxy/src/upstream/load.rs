//! What this core knows of each endpoint's load: the exchanges and connections it has in flight there. Keyed by
//! (cluster, address), so it survives a publish.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;
use sidering_policy::{Address, Endpoint, Load};

use crate::counters::Counter;

type InFlightAt = Rc<Cell<u32>>;

/// The load of every cluster that was used.
#[derive(Default)]
pub(crate) struct Loads(RefCell<HashMap<Arc<str>, Rc<ClusterLoad>>>);

/// The load of one cluster.
#[derive(Default)]
pub(crate) struct ClusterLoad {
    in_flight: RefCell<HashMap<Address, InFlightAt>>,
    turn: Cell<u64>,
}

/// One exchange or connection; counted until dropped.
pub(crate) struct InFlight<'a> {
    at: InFlightAt,
    all: &'a Counter,
}

impl Loads {
    /// What `policy::pick` reads.
    pub(crate) fn of(&self, cluster: &Arc<str>) -> Rc<ClusterLoad> {
        let mut clusters = self.0.borrow_mut();
        match clusters.get(cluster) {
            Some(load) => load.clone(),
            None => clusters.entry(cluster.clone()).or_default().clone(),
        }
    }

    /// Counts one more at an endpoint, and in `all`.
    pub(crate) fn begin<'a>(&self, cluster: &Arc<str>, address: &Address, all: &'a Counter) -> InFlight<'a> {
        let load = self.of(cluster);
        let mut endpoints = load.in_flight.borrow_mut();
        let at = match endpoints.get(address) {
            Some(at) => at.clone(),
            None => endpoints.entry(address.clone()).or_default().clone(),
        };
        at.set(at.get() + 1);
        all.add(1);
        InFlight { at, all }
    }

    /// Forgets the clusters that left the configuration and the endpoints at rest.
    pub(crate) fn retain(&self, known: impl Fn(&str) -> bool) {
        let mut clusters = self.0.borrow_mut();
        clusters.retain(|name, _| known(name));
        for load in clusters.values() {
            load.in_flight.borrow_mut().retain(|_, at| at.get() > 0);
        }
    }
}

impl Load for ClusterLoad {
    fn active(&self, endpoint: &Endpoint) -> u32 {
        self.in_flight.borrow().get(&endpoint.address).map_or(0, |at| at.get())
    }

    /// Outlier ejection is not executed yet.
    fn ejected(&self, _endpoint: &Endpoint) -> bool {
        false
    }

    fn next_turn(&self) -> u64 {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.at.set(self.at.get() - 1);
        self.all.subtract(1);
    }
}
