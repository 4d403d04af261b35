//! What Istio's rules amount to for one workload. `compile` builds the Snapshot from exactly this value, and questions
//! about resources ("which mode, and who set it") are answered from it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{MeshConfig, Resources};

/// Who a sidecar stands beside.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its name, for people.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account; `default` where none is set.
    pub service_account: Arc<str>,
    /// Its labels: what selectors select by.
    pub labels: BTreeMap<String, String>,
    /// Its addresses: endpoints with one of them are this workload.
    pub addresses: Vec<IpAddr>,
}

/// Istio's rules, reduced to one workload.
#[derive(Clone, Debug)]
pub struct Effective {}

impl Effective {
    /// Reduces `resources` to what holds for `workload`.
    pub fn of(_resources: &Resources, _mesh: &MeshConfig, _workload: &Workload) -> Self {
        todo!()
    }
}
