//! Secure naming: who may answer for a service, and where each name was written.

use std::collections::HashSet;
use std::sync::Arc;

use sidering_identity::{ExpectedSan, ExpectedSans, SpiffeId, TrustDomain};
use sidering_policy::Position;

use super::service::Service;
use crate::MeshConfig;

/// The accounts of all endpoints, of all ports and subsets together, and what the service's resource lists; each
/// well-formed id once more for every alias of the trust domain.
pub(crate) fn expected(service: &Service, mesh: &MeshConfig) -> ExpectedSans {
    let mut names: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for instance in &service.endpoints {
        let Some(account) = &instance.service_account else { continue };
        let name = of_account(&mesh.trust_domain, &instance.namespace, account);
        // Most endpoints of a service have the same.
        if names.last().is_none_or(|(last, _)| *last != name) {
            names.push((name, format!("serviceAccount of an endpoint, {}", instance.origin).into()));
        }
    }
    for (account, origin) in &service.template_accounts {
        let from = format!("serviceAccountName of a pod template, {origin}");
        names.push((of_account(&mesh.trust_domain, &service.namespace, account), from.into()));
    }
    names.extend(listed("subjectAltNames", &service.subject_alt_names, service));
    let words = |key: &str| service.annotations.get(key).map(String::as_str).unwrap_or_default().split(',');
    let accounts =
        words("alpha.istio.io/kubernetes-serviceaccounts").map(str::trim).filter(|word| !word.is_empty());
    let from = || format!("annotation, {}", service.origin).into();
    names.extend(accounts.map(|name| (of_account(&mesh.trust_domain, &service.namespace, name), from())));
    let canonical =
        words("alpha.istio.io/canonical-serviceaccounts").map(str::trim).filter(|word| !word.is_empty());
    names.extend(canonical.map(|name| (name.into(), from())));
    with_aliases(names, mesh)
}

/// What a DestinationRule lists replaces the service's own set, and is taken as written.
pub(crate) fn of_rule(names: &[(Arc<str>, Position)]) -> ExpectedSans {
    let san = |(name, position): &(Arc<str>, Position)| ExpectedSan {
        name: name.clone(),
        from: format!("subjectAltNames of the DestinationRule ({position})").into(),
    };
    ExpectedSans(names.iter().map(san).collect())
}

/// What a ServiceEntry lists, as written: for SIMPLE and MUTUAL.
pub(crate) fn of_entry(service: &Service) -> ExpectedSans {
    let names = listed("subjectAltNames", &service.subject_alt_names, service);
    ExpectedSans(names.map(|(name, from)| ExpectedSan { name, from }).collect())
}

fn listed<'a>(
    what: &'a str,
    names: &'a [(Arc<str>, Position)],
    service: &'a Service,
) -> impl Iterator<Item = (Arc<str>, Arc<str>)> + 'a {
    names.iter().map(move |(name, position)| {
        (name.clone(), format!("{what} of {}", service.origin_at(position)).into())
    })
}

/// As text: an account that makes no legal id is expected all the same, and nobody can present it.
fn of_account(domain: &TrustDomain, namespace: &str, account: &str) -> Arc<str> {
    format!("spiffe://{}/ns/{namespace}/sa/{account}", domain.as_str()).into()
}

fn with_aliases(names: Vec<(Arc<str>, Arc<str>)>, mesh: &MeshConfig) -> ExpectedSans {
    let mut sans: Vec<ExpectedSan> = Vec::new();
    let mut seen = HashSet::new();
    let mut add = |name: Arc<str>, from: Arc<str>| {
        if seen.insert(name.clone()) {
            sans.push(ExpectedSan { name, from });
        }
    };
    for (name, from) in names {
        add(name.clone(), from.clone());
        for alias in &mesh.trust_domain_aliases {
            let id = SpiffeId::parse(&name).ok();
            if let Some((namespace, account)) = id.as_ref().and_then(SpiffeId::account) {
                let from = format!("trust domain alias of {name}, {from}");
                add(of_account(alias, namespace, account), from.into());
            }
        }
    }
    ExpectedSans(sans)
}
