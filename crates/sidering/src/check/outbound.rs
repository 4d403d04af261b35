//! Questions about what leaves: `dial`, `route`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sidering_istio::{Dialled, Effective, dialled};
use sidering_policy::{
    Address, Chain, Cluster, Destination, Discovery, Endpoint, Facts, Filter, HeaderEdit, HeaderEdits,
    Inside, Origin, Peer, Refusal, RouteAction, RouteRequest, Routed, Snapshot, Transport, Trust,
    WeightedCluster, needs, normalize_path, path_of,
};
use sidering_proxy::Reason;

use super::Answer;
use super::question::{Dial, Route};
use crate::world::{CAPTURED_OUTBOUND as LISTENER, World, file, lines, snapshot, tls_mode};

/// Dialled where the test does not say what: nobody's (RFC 2544).
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 19, 0, 1));

pub(super) fn dial(world: &World, asked: &Dial) -> Result<Answer, String> {
    let effective = world.effective(&asked.client);
    let snapshot = snapshot(&effective)?;
    let host = effective.host_of(&asked.host);
    let host = host.as_deref().filter(|host| effective.protocol_of(host, asked.port).is_some());
    let Some(host) = host else { return unknown(&effective, &snapshot, asked) };
    let found = dialled(&effective, host, asked.subset.as_deref(), asked.port, &file)
        .map_err(|errors| lines(&errors))?;
    let ip = effective.addresses_of(host).first().copied().unwrap_or(SOMEWHERE);
    let mut actual = about(&effective, &snapshot, host, ip, asked);
    let origin = found.as_ref().map(|found| found.cluster.origin.to_string());
    towards(&mut actual, found.as_ref(), asked);
    Ok(Answer { actual, origin })
}

/// What no service declares: passed on, or nowhere.
fn unknown(effective: &Effective, snapshot: &Snapshot, asked: &Dial) -> Result<Answer, String> {
    let chain =
        chain(snapshot, SOMEWHERE, asked.port, asked.inside).map_err(|refusal| refusal.to_string())?;
    let cluster = match &chain.filter {
        Filter::Tcp(clusters) => sidering_policy::dial(snapshot, clusters, &chain.origin, 0),
        Filter::Http(table) => {
            let authority = asked.host_header.as_deref().unwrap_or(&asked.host);
            let request =
                RouteRequest { method: "GET", authority, scheme: "http", path: "/", header: &|_, _| {} };
            sidering_policy::route(snapshot, table, &request, 0)
                .and_then(|routed| routed.cluster.ok_or(Refusal::NoListener { listener: LISTENER.into() }))
        }
    };
    let mut actual = about(effective, snapshot, &asked.host, SOMEWHERE, asked);
    towards(&mut actual, None, asked);
    let handling = match &cluster {
        Ok(cluster) if matches!(cluster.discovery, Discovery::OriginalDestination) => "passthrough",
        Ok(_) => "cluster",
        Err(_) => "blackhole",
    };
    actual.insert("handling".to_owned(), json!(handling));
    actual.insert("tls".to_owned(), json!("DISABLE"));
    let origin = cluster.map_or_else(|refusal| refusal.to_string(), |cluster| cluster.origin.to_string());
    Ok(Answer { actual, origin: Some(origin) })
}

/// What resources say of the host, and whether the sidecar must see bytes first.
fn about(
    effective: &Effective,
    snapshot: &Snapshot,
    host: &str,
    ip: IpAddr,
    asked: &Dial,
) -> Map<String, Value> {
    let destination = Destination(SocketAddr::new(ip, asked.port));
    let sees = snapshot.listener(LISTENER).map(|listener| needs(listener, destination)).unwrap_or_default();
    let is_http = chain(snapshot, ip, asked.port, Inside::Tcp)
        .is_ok_and(|chain| matches!(chain.filter, Filter::Http(_)));
    let labels = |origins: Vec<Origin>| origins.iter().map(Origin::label).collect::<Vec<_>>();
    let rule = effective.rule_tls(host, asked.subset.as_deref(), asked.port);
    Map::from_iter([
        ("waits".to_owned(), json!(sees.tls || sees.http || is_http)),
        ("ruleTls".to_owned(), json!(rule.map(|mode| mode.to_string()))),
        ("rules".to_owned(), json!(labels(effective.rules_of(host)))),
        ("subsets".to_owned(), json!(texts(&effective.subsets_of(host)))),
        ("protocol".to_owned(), json!(effective.protocol_of(host, asked.port))),
    ])
}

/// How the endpoints are spoken to.
fn towards(actual: &mut Map<String, Value>, found: Option<&Dialled>, asked: &Dial) {
    let tls = found.and_then(|found| found.tls.as_deref());
    let sans: Vec<&str> =
        tls.map(|tls| tls.sans.0.iter().map(|san| &*san.name).collect()).unwrap_or_default();
    let alpn = tls.map(|tls| tls.alpn.offered(asked.inside)).unwrap_or_default();
    let authority = asked.host_header.as_ref().unwrap_or(&asked.host);
    let authority = (asked.inside != Inside::Tcp).then_some(authority.as_str());
    let endpoints: Vec<Value> = found.map(|found| endpoints(&found.cluster)).unwrap_or_default();
    actual.extend([
        ("handling".to_owned(), json!(found.map(|_| "cluster"))),
        ("tls".to_owned(), json!(found.map(|found| tls_mode(found.tls.as_deref())))),
        ("sni".to_owned(), json!(tls.and_then(|tls| tls.sni.name(authority)).map(|name| name.to_string()))),
        ("sans".to_owned(), json!(sans)),
        ("alpn".to_owned(), json!(texts(&alpn))),
        ("endpoints".to_owned(), Value::Array(endpoints)),
    ]);
}

fn texts(list: &[Arc<str>]) -> Vec<&str> {
    list.iter().map(|text| &**text).collect()
}

fn endpoints(cluster: &Cluster) -> Vec<Value> {
    let Discovery::Static(endpoints) = &cluster.discovery else { return Vec::new() };
    let one = |endpoint: &Arc<Endpoint>| {
        let address = match &endpoint.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix://{}", path.display()),
        };
        let mesh = endpoint.tls.as_ref().is_some_and(|tls| tls.trust == Trust::Mesh);
        json!({"address": address, "mtls": mesh})
    };
    endpoints.iter().map(one).collect()
}

fn chain(snapshot: &Snapshot, ip: IpAddr, port: u16, inside: Inside) -> Result<&Arc<Chain>, Refusal> {
    let sniffed = match inside {
        Inside::Tcp => None,
        Inside::Http10 => Some("http/1.0"),
        Inside::Http11 => Some("http/1.1"),
        Inside::Http2 => Some("h2c"),
    };
    let facts = Facts {
        peer: Peer(SocketAddr::new(SOMEWHERE, 40000)),
        destination: Destination(SocketAddr::new(ip, port)),
        transport: Transport::Raw,
        server_name: None,
        application_protocols: sniffed.map(Box::from).into_iter().collect(),
    };
    sidering_policy::accept(snapshot, LISTENER, &facts)
}

pub(super) fn route(world: &World, asked: &Route) -> Result<Answer, String> {
    let effective = world.effective(&asked.client);
    let snapshot = snapshot(&effective)?;
    let chain =
        chain(&snapshot, SOMEWHERE, asked.port, asked.version).map_err(|refusal| refusal.to_string())?;
    let Filter::Http(table) = &chain.filter else {
        return Ok(Answer { actual: nothing(None), origin: Some(chain.origin.to_string()) });
    };
    let Some(target) = normalize_path(snapshot.path_normalization, &asked.path) else {
        return Ok(refused(Reason::MalformedPath, "the path cannot be normalised"));
    };
    let request = RouteRequest {
        method: &asked.method,
        authority: &asked.host,
        scheme: &asked.scheme,
        path: path_of(&target),
        header: &|name, found| {
            asked
                .headers
                .iter()
                .filter(|(own, _)| own == name)
                .for_each(|(_, value)| found(value.as_bytes()));
        },
    };
    Ok(match sidering_policy::route(&snapshot, table, &request, 0) {
        Ok(routed) => {
            Answer { actual: sent(&routed, &target, asked), origin: Some(routed.route.origin.to_string()) }
        }
        Err(refusal) => refused(Reason::from(&refusal), &refusal.to_string()),
    })
}

fn refused(reason: Reason, why: &str) -> Answer {
    Answer { actual: nothing(reason.status()), origin: Some(why.to_owned()) }
}

/// Every key, before anything is said.
fn nothing(status: Option<u16>) -> Map<String, Value> {
    let keys = [
        "host",
        "port",
        "subset",
        "upstreamHost",
        "upstreamPath",
        "upstreamHeaders",
        "absentHeaders",
        "location",
        "timeout",
        "attempts",
        "route",
        "by",
    ];
    let mut actual: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    actual.extend([
        ("status".to_owned(), json!(status)),
        ("destinations".to_owned(), json!([])),
        ("responseHeaders".to_owned(), json!({})),
    ]);
    actual
}

fn sent(routed: &Routed<'_>, target: &str, asked: &Route) -> Map<String, Value> {
    let route = routed.route;
    let mut actual = nothing(None);
    actual.insert("route".to_owned(), json!(*route.name));
    actual.insert("by".to_owned(), json!(route.origin.label()));
    let answered = edited(&[], &route.response_headers);
    actual.insert("responseHeaders".to_owned(), answered.into());
    actual
        .insert("timeout".to_owned(), json!(route.timeout.map(|limit| format!("{}s", limit.as_secs_f64()))));
    match &route.action {
        RouteAction::Respond { status, .. } => {
            actual.insert("status".to_owned(), json!(status));
        }
        RouteAction::Forward { clusters, host } => {
            let headers = edited(&asked.headers, &route.request_headers);
            let gone = asked.headers.iter().map(|(name, _)| name).filter(|name| !headers.contains_key(*name));
            actual.insert("absentHeaders".to_owned(), json!(gone.collect::<Vec<_>>()));
            actual.insert("upstreamHeaders".to_owned(), headers.into());
            actual.insert("upstreamPath".to_owned(), json!(target));
            let authority = host.as_ref().map_or(asked.host.as_str(), |host| &host.0);
            actual.insert("upstreamHost".to_owned(), json!(authority));
            let destinations: Vec<Map<String, Value>> = clusters.iter().filter_map(destination).collect();
            if let Some(first) = destinations.first() {
                for key in ["host", "port", "subset"] {
                    actual.insert(key.to_owned(), first[key].clone());
                }
            }
            actual.insert("destinations".to_owned(), json!(destinations));
        }
    }
    actual
}

/// `outbound|PORT|SUBSET|HOST`; others have no host.
fn destination(weighted: &WeightedCluster) -> Option<Map<String, Value>> {
    let mut parts = weighted.cluster.strip_prefix("outbound|")?.splitn(3, '|');
    let port: u16 = parts.next()?.parse().ok()?;
    let subset = parts.next().filter(|subset| !subset.is_empty());
    let host = parts.next()?;
    let object = json!({"host": host, "port": port, "subset": subset, "weight": weighted.weight});
    object.as_object().cloned()
}

/// Headers after a route's edits; several values of a name are joined.
fn edited(headers: &[(String, String)], edits: &HeaderEdits) -> Map<String, Value> {
    let mut all: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for step in edits.steps() {
        match step {
            HeaderEdit::Remove(name) => all.retain(|(own, _)| *own != name),
            HeaderEdit::Set(name, value) => {
                all.retain(|(own, _)| *own != name);
                all.push((name, value));
            }
            HeaderEdit::Add(name, value) => all.push((name, value)),
        }
    }
    let mut joined = Map::new();
    for (name, value) in all {
        let text = match joined.get(name).and_then(Value::as_str) {
            Some(first) => format!("{first},{value}"),
            None => value.to_owned(),
        };
        joined.insert(name.to_owned(), json!(text));
    }
    joined
}
