//! PeerAuthentication composed: mesh, then namespace, then workload; the oldest of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sidering_policy::Origin;

use crate::resource::{Labels, ModeAt, MtlsMode, PeerAuthentication, is_selected};

/// A mode, and the policy and line that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedMode {
    /// What is taken.
    pub mode: MtlsMode,
    /// Kind `default` where no policy speaks.
    pub by: Origin,
}

/// What a workload takes, in general and by port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// For every port that is not in `ports`.
    pub mode: DecidedMode,
    /// Workload ports that have a policy of their own.
    pub ports: BTreeMap<u16, DecidedMode>,
}

impl Authentication {
    /// What a workload port takes.
    pub fn at(&self, port: u16) -> &DecidedMode {
        self.ports.get(&port).unwrap_or(&self.mode)
    }
}

/// Every policy, sorted into who it is for.
pub(crate) struct Policies<'r> {
    /// Where no policy speaks.
    default: DecidedMode,
    mesh: Option<&'r PeerAuthentication>,
    namespaces: HashMap<&'r str, OfNamespace<'r>>,
}

#[derive(Default)]
struct OfNamespace<'r> {
    general: Option<&'r PeerAuthentication>,
    /// Oldest first.
    selecting: Vec<&'r PeerAuthentication>,
}

impl<'r> Policies<'r> {
    /// `policies` are oldest first. Of the root namespace only those without a selector count.
    pub(crate) fn new(policies: &'r [Arc<PeerAuthentication>], root: &str) -> Self {
        let default = DecidedMode { mode: MtlsMode::Permissive, by: Origin::default_of("PERMISSIVE") };
        let mut all = Self { default, mesh: None, namespaces: HashMap::new() };
        for policy in policies {
            let general = policy.selector.is_empty();
            if &*policy.meta.namespace == root {
                if general && all.mesh.is_none() {
                    all.mesh = Some(policy);
                }
                continue;
            }
            let namespace = all.namespaces.entry(&*policy.meta.namespace).or_default();
            match general {
                true if namespace.general.is_none() => namespace.general = Some(policy),
                true => {}
                false => namespace.selecting.push(policy),
            }
        }
        all
    }

    /// What a workload takes.
    pub(crate) fn of(&self, namespace: &str, labels: &Labels) -> Authentication {
        let own = self.namespaces.get(namespace);
        let chosen =
            own.and_then(|own| own.selecting.iter().find(|policy| is_selected(&policy.selector, labels)));
        let general = own.and_then(|own| own.general);
        let mut mode = self.default.clone();
        for policy in self.mesh.iter().chain(&general).chain(chosen) {
            if let Some(at) = &policy.mode {
                mode = DecidedMode { mode: at.mode, by: policy.meta.origin_at(&at.position) };
            }
        }
        let mut ports = BTreeMap::new();
        if let Some(policy) = chosen {
            for (port, at) in &policy.ports {
                let set =
                    |at: &ModeAt| DecidedMode { mode: at.mode, by: policy.meta.origin_at(&at.position) };
                ports.insert(*port, at.as_ref().map_or_else(|| mode.clone(), set));
            }
        }
        Authentication { mode, ports }
    }

    /// What clients assume of a namespace's services: policies with selectors do not enter.
    pub(crate) fn namespace_mode(&self, namespace: &str) -> MtlsMode {
        let general = self.namespaces.get(namespace).and_then(|own| own.general);
        let modes = [general, self.mesh].into_iter().flatten();
        modes
            .filter_map(|policy| policy.mode.as_ref())
            .map(|at| at.mode)
            .next()
            .unwrap_or(MtlsMode::Permissive)
    }
}
