//! DestinationRules: merged within a namespace, looked up by client, service and root namespace, and reduced to what
//! holds for a subset and a port.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Workload;
use super::service::Service;
use crate::host::HostMap;
use crate::resource::{DestinationRule, Labels, Settings, Subset, TlsMode, TrafficPolicy, is_selected};
use crate::{MeshConfig, Resources};

/// Rules for one host that Istio treats as one.
#[derive(Clone, Debug)]
pub(crate) struct MergedRule {
    namespace: Arc<str>,
    selector: Option<Labels>,
    /// `*`, or namespaces.
    export_to: BTreeSet<Arc<str>>,
    /// The first that is present, whole.
    policy: Option<Arc<TrafficPolicy>>,
    pub(crate) subsets: Vec<Arc<Subset>>,
    /// In the order merged.
    pub(crate) rules: Vec<Arc<DestinationRule>>,
}

impl MergedRule {
    pub(crate) fn subset(&self, name: &str) -> Option<&Arc<Subset>> {
        self.subsets.iter().find(|subset| *subset.name == *name)
    }

    /// What holds for a subset at a service port. A port's entry replaces everything, also by what it leaves out.
    pub(crate) fn settings(&self, subset: Option<&Subset>, port: u16) -> Settings {
        let whole = |policy: &TrafficPolicy| policy.ports.get(&port).cloned();
        let top =
            self.policy.as_deref().map(|policy| whole(policy).unwrap_or_else(|| policy.settings.clone()));
        let top = top.unwrap_or_default();
        let Some(own) = subset.and_then(|subset| subset.policy.as_ref()) else { return top };
        whole(own).unwrap_or_else(|| Settings {
            tls: own.settings.tls.clone().or(top.tls),
            balancer: own.settings.balancer.or(top.balancer),
            pool: own.settings.pool.clone().or(top.pool),
        })
    }

    /// The mode that endpoints are labelled by when `settings` leaves TLS to auto mTLS: Istio falls back from the
    /// port to the top here, unlike there.
    pub(crate) fn endpoint_mode(&self, subset: Option<&Subset>, port: u16) -> Option<TlsMode> {
        let mode = |policy: &TrafficPolicy| {
            let own = policy.ports.get(&port).and_then(|settings| settings.tls.as_ref());
            own.or(policy.settings.tls.as_ref()).map(|tls| tls.mode)
        };
        let of_subset = subset.and_then(|subset| subset.policy.as_ref()).and_then(mode);
        of_subset.or_else(|| self.policy.as_deref().and_then(mode))
    }

    fn is_public(&self) -> bool {
        self.export_to.iter().any(|name| &**name == "*")
    }

    fn is_visible_to(&self, namespace: &str) -> bool {
        self.is_public() || self.export_to.contains(namespace)
    }

    /// For its own namespace alone.
    fn is_private(&self) -> bool {
        self.export_to.iter().eq([&self.namespace])
    }

    /// Takes in a later rule for the same host: subsets are added, the policy is kept if there is one.
    fn absorb(&mut self, rule: &Arc<DestinationRule>) {
        for subset in &rule.subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset.clone());
            }
        }
        self.policy = self.policy.take().or_else(|| rule.policy.clone());
        self.rules.push(rule.clone());
    }
}

/// Every rule, by namespace.
pub(crate) struct Rules {
    root: Arc<str>,
    namespaces: HashMap<Arc<str>, OfNamespace>,
}

#[derive(Default)]
struct OfNamespace {
    /// Seen from the namespace itself.
    local: HostMap<Vec<Arc<MergedRule>>>,
    /// Of these, private to it.
    private: HostMap<Vec<Arc<MergedRule>>>,
    /// Seen from elsewhere.
    exported: HostMap<Vec<Arc<MergedRule>>>,
}

impl Rules {
    pub(crate) fn new(resources: &Resources, mesh: &MeshConfig) -> Self {
        let mut sorted: Vec<&Arc<DestinationRule>> = resources.destination_rules.iter().collect();
        // Stable: within each kind the oldest stays first.
        sorted.sort_by_key(|rule| rule.selector.is_none());
        let mut hosts: Vec<(Arc<str>, Arc<str>, Vec<MergedRule>)> = Vec::new();
        let mut index: HashMap<(Arc<str>, Arc<str>), usize> = HashMap::new();
        for rule in sorted {
            let key = (rule.meta.namespace.clone(), rule.host.clone());
            let at = *index.entry(key.clone()).or_insert_with(|| {
                hosts.push((key.0, key.1, Vec::new()));
                hosts.len() - 1
            });
            merge(&mut hosts[at].2, rule, export_set(rule, mesh));
        }
        let mut namespaces: HashMap<Arc<str>, OfNamespace> = HashMap::new();
        for (namespace, host, merged) in hosts {
            let own = namespaces.entry(namespace.clone()).or_default();
            for rule in merged.into_iter().map(Arc::new) {
                let put = |map: &mut HostMap<Vec<Arc<MergedRule>>>| match map.exact_mut(&host) {
                    Some(list) => list.push(rule.clone()),
                    None => map.insert(&host, vec![rule.clone()]),
                };
                if rule.is_visible_to(&namespace) {
                    put(&mut own.local);
                }
                if rule.is_private() {
                    put(&mut own.private);
                } else {
                    put(&mut own.exported);
                }
            }
        }
        Self { root: mesh.root_namespace.clone(), namespaces }
    }

    /// The rule that a client workload follows towards a service.
    pub(crate) fn of(&self, service: &Service, client: &Workload) -> Option<Arc<MergedRule>> {
        let found = self.visible(service, client);
        let selects = |rule: &&Arc<MergedRule>| {
            let selector = rule.selector.as_ref();
            rule.namespace == client.namespace
                && selector.is_some_and(|labels| is_selected(labels, &client.labels))
        };
        found.iter().find(selects).or_else(|| found.iter().find(|rule| rule.selector.is_none())).cloned()
    }

    fn visible(&self, service: &Service, client: &Workload) -> Vec<Arc<MergedRule>> {
        let host = &service.hostname;
        let own = self.namespaces.get(&client.namespace);
        // A client in the root namespace: its public rules are for the others first.
        let local = own.map(|own| if client.namespace == self.root { &own.private } else { &own.local });
        if let Some(found) = local.and_then(|rules| rules.most_specific(host)) {
            return found.clone();
        }
        for namespace in [&service.namespace, &self.root] {
            let exported = self.namespaces.get(namespace).and_then(|of| of.exported.most_specific(host));
            let seen = exported.into_iter().flatten().filter(|rule| rule.is_visible_to(&client.namespace));
            let seen: Vec<_> = seen.cloned().collect();
            if !seen.is_empty() {
                return seen;
            }
        }
        Vec::new()
    }
}

/// Namespaces, `.` resolved; a rule with a selector is for its own.
fn export_set(rule: &DestinationRule, mesh: &MeshConfig) -> BTreeSet<Arc<str>> {
    let own = &rule.meta.namespace;
    if rule.selector.is_some() {
        return BTreeSet::from([own.clone()]);
    }
    let written =
        if rule.export_to.is_empty() { &mesh.default_destination_rule_export_to } else { &rule.export_to };
    if written.is_empty() {
        return BTreeSet::from(["*".into()]);
    }
    written.iter().map(|name| if &**name == "." { own.clone() } else { name.clone() }).collect()
}

/// Equal selectors (or none) and equal exportTo: merged. A rule without a selector also goes
/// beneath each rule with one, if it is exported at least as far; and stays on its own.
fn merge(list: &mut Vec<MergedRule>, rule: &Arc<DestinationRule>, export_to: BTreeSet<Arc<str>>) {
    let mut separate = true;
    for other in list.iter_mut() {
        let alike = other.selector == rule.selector;
        if rule.selector.is_some() && !alike {
            continue;
        }
        if export_to == other.export_to {
            separate &= !alike;
            other.absorb(rule);
        } else if export_to.is_superset(&other.export_to) {
            other.absorb(rule);
        }
    }
    if separate {
        list.push(MergedRule {
            namespace: rule.meta.namespace.clone(),
            selector: rule.selector.clone(),
            export_to,
            policy: rule.policy.clone(),
            subsets: rule.subsets.clone(),
            rules: vec![rule.clone()],
        });
    }
}
