//! The workloads that services name as endpoints: who stands where, for questions about both sides of a connection.

use std::sync::Arc;

use sidering_policy::{Address, Origin};

use super::{Effective, Instance, Workload};
use crate::resource::EndpointAddress;

/// A workload behind a service's port.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Who it is.
    pub workload: Workload,
    /// Where clients connect to.
    pub address: Address,
    /// The workload's own port.
    pub port: u16,
    /// It is known to take mesh mutual TLS.
    pub has_sidecar: bool,
    /// The line that lists it.
    pub origin: Origin,
}

impl Effective {
    /// The workloads behind a host's service port that have an address.
    pub fn behind(&self, host: &str, port: u16) -> Vec<Endpoint> {
        let of = |instance: &Arc<Instance>| {
            Some(Endpoint {
                workload: instance.workload(),
                address: instance.address(port)?,
                port: *instance.ports.get(&port)?,
                has_sidecar: instance.has_sidecar,
                origin: instance.origin.clone(),
            })
        };
        self.service(host)
            .map(|service| service.endpoints.iter().filter_map(of).collect())
            .unwrap_or_default()
    }

    /// The first endpoint of any service that runs as that account: its labels and addresses.
    pub fn workload_of(&self, namespace: &str, account: &str) -> Option<Workload> {
        let mut instances = self.services.iter().flat_map(|service| &service.endpoints);
        let runs_as = |instance: &&Arc<Instance>| {
            *instance.namespace == *namespace && instance.service_account.as_deref() == Some(account)
        };
        instances.find(runs_as).map(|instance| instance.workload())
    }
}

impl Instance {
    fn workload(&self) -> Workload {
        let addresses = match &self.address {
            EndpointAddress::Ip(ip) => vec![*ip],
            EndpointAddress::Unix(_) | EndpointAddress::Name(_) => Vec::new(),
        };
        Workload {
            name: self.origin.name.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone().unwrap_or_else(|| "default".into()),
            labels: (*self.labels).clone(),
            addresses,
        }
    }
}
