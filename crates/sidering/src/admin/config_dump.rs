//! `/config_dump`: the Snapshot in force, and where each part of it was written. What may be a secret is not in it: of
//! keys, certificates, the values of headers and bodies there is nothing.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use serde_json::{Map, Value, json};
use sidering_policy::{
    Address, BindAddress, Chain, ChainMatch, Cluster, Discovery, DownstreamTls, Endpoint, Filter,
    HeaderEdits, Listener, Origin, Route, RouteAction, RouteMatch, RouteTable, Rule, RuleSet, Snapshot, Sni,
    StringMatch, TlsVersion, Transport, Trust, UnknownHost, UpstreamAlpn, UpstreamTls, VirtualHost,
    WeightedCluster,
};
use tokio::task::spawn_blocking;

use super::{Sidecar, format_json};
use crate::world::tls_mode;

/// Not on the control thread: a mesh may be large.
pub(super) async fn answer(Shared(state): Sidecar) -> Response {
    let answer = spawn_blocking(move || format_json(&dump(&state.setup.proxy.snapshot()))).await;
    answer.expect("showing what is in force does not panic")
}

fn dump(snapshot: &Snapshot) -> Value {
    let mut clusters: Vec<_> = snapshot.clusters.values().collect();
    clusters.sort_by(|one, other| one.name.cmp(&other.name));
    json!({
        "version": snapshot.version.0,
        "identity": snapshot.identity.as_ref().map(|id| id.as_str()),
        "trustDomains": list(&snapshot.trust_domains, |domain| json!(domain.as_str())),
        "pathNormalization": format!("{:?}", snapshot.path_normalization),
        "listeners": list(&snapshot.listeners, |it| listener(it)),
        "clusters": list(&clusters, |it| cluster(it)),
    })
}

fn listener(listener: &Listener) -> Value {
    json!({
        "name": &*listener.name,
        "address": match &listener.bind {
            BindAddress::Tcp(address) => address.to_string(),
            BindAddress::Unix(path) => path.display().to_string(),
        },
        "direction": listener.direction.name(),
        "captures": listener.captures,
        "detectionSeconds": listener.detection_timeout.map(|time| time.as_secs_f64()),
        "chains": list(&listener.chains, |it| chain(it)),
        "by": by(&listener.origin),
    })
}

fn chain(chain: &Chain) -> Value {
    let (protocol, key, to) = match &chain.filter {
        Filter::Http(table) => ("http", "routes", routes(table)),
        Filter::Tcp(clusters) => ("tcp", "clusters", list(clusters, weighted)),
    };
    let mut shown = json!({
        "name": &*chain.name,
        "match": chain_match(&chain.matches),
        "tls": chain.tls.as_deref().map(downstream_tls),
        "protocol": protocol,
        "rules": rules(&chain.authorization.enforced()),
        "dryRun": rules(&chain.authorization.dry_run()),
        "by": by(&chain.origin),
    });
    shown[key] = to;
    shown
}

/// What it does not ask for is left out.
fn chain_match(wanted: &ChainMatch) -> Value {
    let mut shown = Map::new();
    if let Some(port) = wanted.destination_port {
        shown.insert("port".into(), json!(port));
    }
    if let Some(transport) = wanted.transport {
        let name = match transport {
            Transport::Raw => "raw",
            Transport::Tls => "tls",
        };
        shown.insert("transport".into(), json!(name));
    }
    let lists = [
        ("destinations", list(&wanted.destinations, |address| json!(address.to_string()))),
        ("applicationProtocols", list(&wanted.application_protocols, |name| json!(&**name))),
        ("serverNames", list(&wanted.server_names, |name| json!(&**name))),
    ];
    let asked = lists.into_iter().filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()));
    shown.extend(asked.map(|(name, list)| (name.to_owned(), list)));
    Value::Object(shown)
}

fn downstream_tls(tls: &DownstreamTls) -> Value {
    json!({
        "alpn": list(&tls.alpn, |name| json!(&**name)),
        "minVersion": version(tls.min_version),
        "cipherSuites": list(&tls.cipher_suites, |name| json!(&**name)),
    })
}

/// `allow` is absent where no ALLOW policy is in force, and empty where they allow nothing.
fn rules(set: &RuleSet) -> Value {
    let origins = |rules: &[Rule]| list(rules, |rule| by(&rule.origin));
    json!({
        "custom": origins(&set.custom),
        "deny": origins(&set.deny),
        "allow": set.allow.as_ref().map(|allow| origins(&allow.rules)),
        "allowPolicies": set.allow.as_ref().map(|allow| list(&allow.policies, by)),
    })
}

fn routes(table: &RouteTable) -> Value {
    let exact = table.exact.iter().map(|(domain, host)| (domain.to_string(), host));
    let suffixes = table.suffixes.iter().map(|(suffix, host)| (format!("*{suffix}"), host));
    let any = table.any.iter().map(|host| ("*".to_owned(), host));
    let mut hosts: HashMap<*const VirtualHost, (Vec<String>, &VirtualHost)> = HashMap::new();
    for (domain, host) in exact.chain(suffixes).chain(any) {
        hosts.entry(Arc::as_ptr(host)).or_insert_with(|| (Vec::new(), host)).0.push(domain);
    }
    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.iter_mut().for_each(|(domains, _)| domains.sort());
    hosts.sort_by(|one, other| (&one.1.name, &one.0).cmp(&(&other.1.name, &other.0)));
    json!({
        "name": &*table.name,
        "virtualHosts": list(&hosts, |(domains, host)| json!({
            "name": &*host.name,
            "domains": domains,
            "routes": list(&host.routes, route),
            "by": by(&host.origin),
        })),
        "unknownHost": match table.unknown {
            UnknownHost::BlackHole => 502,
            UnknownHost::NotFound => 404,
        },
        "by": by(&table.origin),
    })
}

fn route(route: &Route) -> Value {
    let mut shown = json!({
        "name": &*route.name,
        "match": list(&route.matches, route_match),
        "requestHeaders": edited(&route.request_headers),
        "responseHeaders": edited(&route.response_headers),
        "timeoutSeconds": route.timeout.map(|time| time.as_secs_f64()),
        "by": by(&route.origin),
    });
    match &route.action {
        RouteAction::Forward { clusters, host } => {
            shown["clusters"] = list(clusters, weighted);
            shown["rewritesHost"] = host.is_some().into();
        }
        RouteAction::Respond { status, .. } => shown["status"] = (*status).into(),
    }
    shown
}

fn route_match(wanted: &RouteMatch) -> Value {
    json!({
        "path": wanted.path.as_ref().map(|path| text(&path.value)),
        "method": wanted.method.as_ref().map(text),
        "authority": wanted.authority.as_ref().map(text),
        "scheme": wanted.scheme.as_ref().map(text),
        "headers": list(&wanted.headers, |header| json!(&*header.name)),
    })
}

/// As VirtualServices say it.
fn text(wanted: &StringMatch) -> Value {
    match wanted {
        StringMatch::Exact(text) => json!({"exact": &**text}),
        StringMatch::Prefix(text) => json!({"prefix": &**text}),
        StringMatch::Suffix(text) => json!({"suffix": &**text}),
        StringMatch::Present => json!("*"),
        StringMatch::Regex(regex) => json!({"regex": regex.as_str()}),
    }
}

fn edited(edits: &HeaderEdits) -> Value {
    json!({
        "remove": list(&edits.remove, |name| json!(name.to_string())),
        "set": list(&edits.set, |(name, _)| json!(name.to_string())),
        "add": list(&edits.add, |(name, _)| json!(name.to_string())),
    })
}

fn weighted(to: &WeightedCluster) -> Value {
    json!({"cluster": &*to.cluster, "weight": to.weight})
}

fn cluster(cluster: &Cluster) -> Value {
    let (discovery, endpoints): (_, &[_]) = match &cluster.discovery {
        Discovery::Static(endpoints) => ("static", endpoints),
        Discovery::OriginalDestination => ("original destination", &[]),
        Discovery::BlackHole => ("none", &[]),
    };
    json!({
        "name": &*cluster.name,
        "discovery": discovery,
        "endpoints": list(endpoints, |it| endpoint(it)),
        "balancer": format!("{:?}", cluster.balancer),
        "connectTimeoutSeconds": cluster.connect_timeout.as_secs_f64(),
        "idleTimeoutSeconds": cluster.idle_timeout.map(|time| time.as_secs_f64()),
        "tcpIdleTimeoutSeconds": cluster.tcp_idle_timeout.map(|time| time.as_secs_f64()),
        "maxConnections": cluster.max_connections,
        "maxRequestsPerConnection": cluster.max_requests_per_connection,
        "by": by(&cluster.origin),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "address": match &endpoint.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => path.display().to_string(),
        },
        "weight": endpoint.weight,
        "tls": endpoint.tls.as_deref().map(upstream_tls),
        "by": by(&endpoint.origin),
    })
}

fn upstream_tls(tls: &UpstreamTls) -> Value {
    json!({
        "mode": tls_mode(Some(tls)),
        "verified": tls.trust != Trust::Unverified,
        "sni": match &tls.sni {
            Sni::Fixed(name) => json!(&**name),
            Sni::RequestHost => json!("the request's host"),
            Sni::None => Value::Null,
        },
        "alpn": match &tls.alpn {
            UpstreamAlpn::Mesh => json!("Istio's"),
            UpstreamAlpn::Fixed(names) => list(names, |name| json!(&**name)),
        },
        "minVersion": version(tls.min_version),
        "cipherSuites": list(&tls.cipher_suites, |name| json!(&**name)),
        "expected": list(&tls.sans.0, |san| json!({"name": &*san.name, "from": &*san.from})),
        "by": by(&tls.origin),
    })
}

fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    }
}

fn by(origin: &Origin) -> Value {
    json!(origin.to_string())
}

fn list<T>(items: &[T], show: impl Fn(&T) -> Value) -> Value {
    items.iter().map(show).collect()
}
