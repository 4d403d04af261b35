//! DestinationRule: how clients speak to a host.

use std::collections::HashSet;
use std::sync::Arc;

use super::meta::{Labels, Meta, envelope, read_export_to, read_match_labels};
use super::service_entry::read_workload_selector;
use super::traffic_policy::{self, TrafficPolicy};
use crate::host;
use crate::read::Reader;
use crate::yaml::Node;

#[derive(Debug)]
pub(crate) struct DestinationRule {
    pub(crate) meta: Meta,
    /// In full.
    pub(crate) host: Arc<str>,
    /// `None`: every workload.
    pub(crate) selector: Option<Labels>,
    /// As written; empty takes the mesh's default.
    pub(crate) export_to: Vec<Arc<str>>,
    pub(crate) policy: Option<Arc<TrafficPolicy>>,
    pub(crate) subsets: Vec<Arc<Subset>>,
}

#[derive(Debug)]
pub(crate) struct Subset {
    pub(crate) name: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) policy: Option<TrafficPolicy>,
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<DestinationRule> {
    let (meta, spec) = envelope(document, "DestinationRule", r)?;
    let Some(spec) = spec else {
        r.error(document, "DestinationRule needs a spec with a host");
        return None;
    };
    let mut f = r.fields(spec, "DestinationRule spec");
    let host = match f.get("host") {
        Some(n) => r.text(n, "host").and_then(|text| match host::check(text) {
            Ok(()) => Some(host::expand(text, &meta.namespace)),
            Err(message) => {
                r.error(n, message);
                None
            }
        }),
        None => {
            r.error(spec, "DestinationRule needs a `host`");
            None
        }
    };
    let selector = f.get("workloadSelector").map(|n| read_workload_selector(n, "matchLabels", r));
    let selector = selector.filter(|labels| !labels.is_empty());
    let export = f.get("exportTo");
    let export_to = export.map(|n| read_export_to(n, &meta.namespace, false, r)).unwrap_or_default();
    if let (Some(n), Some(_)) = (export, &selector)
        && export_to.iter().any(|name| &**name != "." && **name != *meta.namespace)
    {
        r.error(n, "a rule with a workloadSelector is for its own namespace alone; write exportTo: [.]");
    }
    let policy = f.get("trafficPolicy").map(|n| Arc::new(traffic_policy::read(n, &meta, r)));
    let mut subsets: Vec<Arc<Subset>> = Vec::new();
    let mut names = HashSet::new();
    if let Some(n) = f.get("subsets") {
        for item in r.list(n, "subsets") {
            let Some(subset) = read_subset(item, &meta, r) else { continue };
            if !names.insert(subset.name.clone()) {
                r.error(item, format!("subset {:?} is defined twice; rename one of them", subset.name));
            }
            subsets.push(Arc::new(subset));
        }
    }
    f.done(r);
    Some(DestinationRule { meta, host: host?, selector, export_to, policy, subsets })
}

fn read_subset(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> Option<Subset> {
    if node.is_null() {
        r.error(node, "a subset must not be null; write {name: ..., labels: {...}}");
        return None;
    }
    let mut f = r.fields(node, "subset");
    let name = match f.get("name") {
        Some(n) => r.text(n, "subset name"),
        None => {
            r.error(node, "a subset needs a `name`");
            None
        }
    };
    let labels = f.get("labels").map(|n| read_match_labels(n, r)).unwrap_or_default();
    let policy = f.get("trafficPolicy").map(|n| traffic_policy::read(n, meta, r));
    f.done(r);
    Some(Subset { name: name?.into(), labels, policy })
}
