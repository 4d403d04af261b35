//! A core's idle upstream connections. A key names everything that a connection was made under, so one that was made
//! under other parameters, credentials or trust domains is never found.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use sidering_net::{now, sleep_until};
use sidering_policy::Address;

use super::Upstream;
use crate::worker::Shared;

/// What two exchanges must have in common to share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) cluster: Arc<str>,
    pub(crate) address: Address,
    /// `live::Client::version`; 0 for plaintext.
    pub(crate) tls: u64,
    pub(crate) server_name: Option<Arc<str>>,
}

/// Idle connections by key, the one used last first.
pub(crate) struct Pool {
    idle: RefCell<HashMap<Key, Vec<Idle>>>,
    shared: Arc<Shared>,
}

struct Idle {
    upstream: Upstream,
    /// `None`: as long as the server keeps it.
    until: Option<Instant>,
}

impl Idle {
    fn is_usable(&mut self, at: Instant) -> bool {
        self.until.is_none_or(|until| until > at) && self.upstream.client.is_reusable()
    }
}

/// How often closed and expired connections are looked for while there are idle ones.
const SWEEP: Duration = Duration::from_secs(10);

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { idle: RefCell::default(), shared }
    }

    /// The idle connection that was used last and still looks usable `at` this time. Every exchange it carried ended well.
    pub(crate) fn take(&self, key: &Key, at: Instant) -> Option<Upstream> {
        loop {
            let mut idle = self.idle.borrow_mut().get_mut(key)?.pop()?;
            self.shared.counters.upstream_idle.subtract(1);
            if idle.is_usable(at) {
                return Some(idle.upstream);
            }
        }
    }

    /// Keeps a connection for `limit`, if there is one.
    pub(crate) fn put(&self, upstream: Upstream, limit: Option<Duration>) {
        let until = limit.map(|limit| now() + limit);
        self.shared.counters.upstream_idle.add(1);
        let mut pool = self.idle.borrow_mut();
        match pool.get_mut(&upstream.established.key) {
            Some(connections) => connections.push(Idle { upstream, until }),
            None => {
                pool.insert(upstream.established.key.clone(), vec![Idle { upstream, until }]);
            }
        }
    }

    /// Closes the connections whose key is not `wanted` any more.
    pub(crate) fn retain(&self, wanted: impl Fn(&Key) -> bool) {
        self.keep(|key, _| wanted(key));
    }

    /// Closes, now and then, what expired or was closed by the server. Never done: it runs beside everything else.
    pub(crate) async fn sweep(&self) {
        loop {
            sleep_until(now() + SWEEP).await;
            let at = now();
            self.keep(|_, idle| idle.is_usable(at));
        }
    }

    fn keep(&self, mut wanted: impl FnMut(&Key, &mut Idle) -> bool) {
        let mut pool = self.idle.borrow_mut();
        pool.retain(|key, connections| {
            connections.retain_mut(|idle| wanted(key, idle));
            !connections.is_empty()
        });
        self.shared.counters.upstream_idle.set(pool.values().map(Vec::len).sum::<usize>() as u64);
    }
}
