//! Ways to an upstream: another host, a route that takes the request, a cluster and an endpoint that are there.

use std::sync::Arc;

use super::unseen::with_table;
use super::{BROAD, PLAIN, SLIP, Way, World, in_a_file, near, on_the_wire, rules};
use crate::route::{virtual_host, without_port};
use crate::{
    Address, BalancerKind, Chain, Cluster, Discovery, Endpoint, Filter, HeaderMatch, Origin, PathMatch,
    Refusal, Route, RouteMatch, RouteRequest, RouteTable, StringMatch, VirtualHost,
};

pub(super) fn ways(world: &World, refusal: &Refusal, chain: &Chain) -> Vec<Way> {
    match (refusal, &chain.filter) {
        (Refusal::UnknownHost { host, blackhole, .. }, Filter::Http(table)) => {
            unknown_host(world, chain, table, host, *blackhole)
        }
        (Refusal::NoRoute { .. }, Filter::Http(table)) => no_route(world, chain, table),
        (Refusal::NoCluster { cluster, origin }, _) => no_cluster(world, cluster, origin),
        (Refusal::NoEndpoint { cluster, origin }, _) => no_endpoint(world, cluster, origin),
        (Refusal::BlackHole { cluster, origin }, _) => black_hole(world, cluster, origin),
        _ => Vec::new(),
    }
}

/// Names that are near, and what would make the name known.
fn unknown_host(
    world: &World,
    chain: &Chain,
    table: &RouteTable,
    asked: &str,
    registered_only: bool,
) -> Vec<Way> {
    let name = without_port(asked).to_ascii_lowercase();
    let mut near: Vec<(usize, &Arc<str>, &Arc<VirtualHost>)> = table
        .exact
        .iter()
        .filter_map(|(domain, host)| {
            let most = name.len() / 4;
            let shorter = domain.split('.').next() == name.split('.').next();
            if !shorter && domain.len().abs_diff(name.len()) > most {
                return None;
            }
            let distance = near::distance(&name, domain)?;
            (shorter || distance <= most).then_some((distance, domain, host))
        })
        .collect();
    near.sort_by_key(|(distance, domain, _)| (*distance, (*domain).clone()));
    let mut ways: Vec<Way> = Vec::new();
    for (_, domain, host) in near.into_iter().take(2) {
        let changed = world.with_case(|case| {
            case.request.iter_mut().for_each(|request| request.authority = domain.to_string());
        });
        let cost = if near::is_slip(&name, domain) { SLIP } else { PLAIN };
        ways.push(on_the_wire(
            cost,
            format!("the client asks for host `{domain}`, which {} declares", host.origin),
            changed,
        ));
    }
    let known = || {
        let route = respond(&table.origin);
        let host =
            VirtualHost { name: name.as_str().into(), routes: vec![route], origin: table.origin.clone() };
        let mut table = table.clone();
        table.exact.insert(name.as_str().into(), Arc::new(host));
        with_table(world, chain, table)
    };
    let port = world.case.facts.destination.0.port();
    let what = format!(
        "declare host `{name}` with port {port} in a ServiceEntry or Service that this workload sees"
    );
    ways.push(on_the_wire(PLAIN, what, known()));
    if registered_only && world.listener().is_some_and(|listener| listener.captures) {
        let what =
            "let outboundTrafficPolicy be ALLOW_ANY, so that hosts that are not registered are passed on";
        ways.push(on_the_wire(BROAD, what, known()));
    }
    ways
}

/// Stands in for a route that is there.
fn respond(origin: &Origin) -> Route {
    Route {
        name: "".into(),
        matches: Vec::new(),
        action: crate::RouteAction::Respond { status: 200, body: "".into() },
        request_headers: crate::HeaderEdits::default(),
        response_headers: crate::HeaderEdits::default(),
        timeout: None,
        origin: origin.clone(),
    }
}

/// Each route with what its closest match would have to take.
fn no_route(world: &World, chain: &Chain, table: &RouteTable) -> Vec<Way> {
    let Some(request) = &world.case.request else { return Vec::new() };
    let Some(host) = virtual_host(table, &request.authority) else { return Vec::new() };
    let header = request.header();
    let asked = request.route(&header);
    let with_route = |index: usize, route: Route| {
        let mut changed = VirtualHost::clone(host);
        changed.routes[index] = route;
        with_table(world, chain, instead(table, host, changed))
    };
    let mut ways: Vec<Way> = Vec::new();
    for (index, route) in host.routes.iter().enumerate() {
        let each = route.matches.iter().enumerate().map(|(index, entry)| (index, widened(entry, &asked)));
        let Some((at, (cost, says, entry))) = each.min_by_key(|(_, (cost, ..))| *cost) else { continue };
        let mut changed = route.clone();
        changed.matches[at] = entry;
        let which = if route.matches.len() > 1 { format!("match {at} of ") } else { String::new() };
        let what = format!("let {which}the route take {}", says.join(", and "));
        ways.push(in_a_file(cost, what, &route.origin, with_route(index, changed)));
    }
    let mut changed = VirtualHost::clone(host);
    changed.routes.push(respond(&host.origin));
    let what = "add a route without `match` at the end, for everything else";
    ways.push(in_a_file(BROAD, what, &host.origin, with_table(world, chain, instead(table, host, changed))));
    ways
}

fn instead(table: &RouteTable, host: &Arc<VirtualHost>, changed: VirtualHost) -> RouteTable {
    let changed = Arc::new(changed);
    let swap = |other: &mut Arc<VirtualHost>| {
        if Arc::ptr_eq(other, host) {
            *other = changed.clone();
        }
    };
    let mut table = table.clone();
    table.exact.values_mut().for_each(swap);
    table.suffixes.iter_mut().map(|(_, host)| host).for_each(swap);
    table.any.iter_mut().for_each(swap);
    table
}

/// A match that takes the request, and what it then takes that it did not.
fn widened(entry: &RouteMatch, request: &RouteRequest<'_>) -> (u32, Vec<String>, RouteMatch) {
    let mut wide = entry.clone();
    let (mut cost, mut says) = (0, Vec::new());
    let exact = |text: &str| StringMatch::Exact(text.into());
    let mut lacks = |what: &str, text: &str, wants: String| {
        cost += if near::is_slip(text, &wants) { SLIP } else { PLAIN };
        says.push(format!("{what} `{text}` (it wants `{wants}`)"));
    };
    if let Some(path) = wide.path.take_if(|path| !path.holds(request.path)) {
        lacks("path", request.path, rules::pattern(&path.value));
        wide.path = Some(PathMatch { value: exact(request.path), ignore_case: false });
    }
    let parts = [
        ("method", request.method, &mut wide.method),
        ("authority", request.authority, &mut wide.authority),
        ("scheme", request.scheme, &mut wide.scheme),
    ];
    for (what, text, test) in parts {
        if let Some(wants) = test.take_if(|test| !test.matches(text)) {
            lacks(what, text, rules::pattern(&wants));
            *test = Some(exact(text));
        }
    }
    let missing: Vec<HeaderMatch> = wide.headers.extract_if(.., |header| !header.holds(request)).collect();
    for HeaderMatch { name, value, inverted } in missing {
        let wants = value.as_ref().map_or("*".to_owned(), rules::pattern);
        cost += PLAIN;
        let not = if inverted { "only without" } else { "without" };
        says.push(format!("requests {not} header `{name}: {wants}`"));
    }
    (cost, says, wide)
}

/// `outbound|PORT|SUBSET|HOST`.
struct Parts<'a> {
    port: &'a str,
    subset: &'a str,
    host: &'a str,
}

impl<'a> Parts<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
        Some(Self { port: parts.next()?, subset: parts.next()?, host: parts.next()? })
    }

    fn said(&self) -> String {
        let subset = match self.subset {
            "" => "without subset".to_owned(),
            subset => format!("subset `{subset}`"),
        };
        format!("host `{}`, port {}, {subset}", self.host, self.port)
    }
}

/// Clusters of almost that name, and what would make one of it.
fn no_cluster(world: &World, name: &Arc<str>, route: &Origin) -> Vec<Way> {
    let Some(wanted) = Parts::of(name) else { return Vec::new() };
    let mut near: Vec<(usize, &Arc<Cluster>, Parts<'_>)> = world
        .snapshot
        .clusters
        .values()
        .filter_map(|cluster| {
            let parts = Parts::of(&cluster.name)?;
            let like = parts.host == wanted.host || near::is_slip(parts.host, wanted.host);
            let distance = if like { near::distance(&cluster.name, name)? } else { return None };
            Some((distance, cluster, parts))
        })
        .collect();
    near.sort_by_key(|(distance, cluster, _)| (*distance, cluster.name.clone()));
    let mut ways: Vec<Way> = Vec::new();
    for (_, cluster, parts) in near.into_iter().take(2) {
        let cost = if near::is_slip(&cluster.name, name) { SLIP } else { PLAIN };
        let what = format!("name {} instead, which exists ({})", parts.said(), cluster.origin);
        ways.push(in_a_file(cost, what, route, with_cluster(world, name, Cluster::clone(cluster))));
    }
    let what = match wanted.subset {
        "" => format!(
            "declare host `{}` with port {} in a ServiceEntry or Service that this workload sees",
            wanted.host, wanted.port
        ),
        subset => format!("define subset `{subset}` in a DestinationRule for host `{}`", wanted.host),
    };
    ways.push(on_the_wire(PLAIN, what, with_cluster(world, name, passing(name, route))));
    ways
}

fn with_cluster(world: &World, name: &Arc<str>, cluster: Cluster) -> World {
    world.with_snapshot(|snapshot| {
        snapshot.clusters.insert(name.clone(), Arc::new(cluster));
    })
}

/// Stands in for a cluster that is there.
fn passing(name: &Arc<str>, origin: &Origin) -> Cluster {
    Cluster {
        name: name.clone(),
        discovery: Discovery::OriginalDestination,
        balancer: BalancerKind::default(),
        connect_timeout: std::time::Duration::ZERO,
        idle_timeout: None,
        tcp_idle_timeout: None,
        max_connections: None,
        max_requests_per_connection: None,
        origin: origin.clone(),
    }
}

/// The same host without its subset, and what would give the cluster an endpoint.
fn no_endpoint(world: &World, name: &Arc<str>, origin: &Origin) -> Vec<Way> {
    let Some(parts) = Parts::of(name) else { return Vec::new() };
    let mut ways: Vec<Way> = Vec::new();
    let whole = Parts { subset: "", ..parts };
    let named = format!("outbound|{}||{}", whole.port, whole.host);
    if let (false, Some(cluster)) = (parts.subset.is_empty(), world.snapshot.cluster(&named)) {
        let endpoints = match &cluster.discovery {
            Discovery::Static(endpoints) => endpoints.len(),
            Discovery::OriginalDestination | Discovery::BlackHole => 0,
        };
        let what = format!(
            "let the route name host `{}` without subset `{}`: of {endpoints} endpoints none has the subset's labels",
            parts.host, parts.subset
        );
        ways.push(on_the_wire(PLAIN, what, with_cluster(world, name, Cluster::clone(cluster))));
    }
    let what = match parts.subset {
        "" => format!("list an endpoint with an address for port {}", parts.port),
        subset => format!(
            "give an endpoint the labels that subset `{subset}` selects by, or select by other labels"
        ),
    };
    let endpoint = Endpoint {
        address: Address::Tcp(world.case.facts.destination.0),
        weight: 1,
        tls: None,
        origin: origin.clone(),
    };
    let listed = world.snapshot.cluster(name).map(|cluster| Cluster {
        discovery: Discovery::Static(vec![Arc::new(endpoint)]),
        ..Cluster::clone(cluster)
    });
    ways.extend(listed.map(|cluster| in_a_file(PLAIN, what, origin, with_cluster(world, name, cluster))));
    ways
}

fn black_hole(world: &World, name: &Arc<str>, origin: &Origin) -> Vec<Way> {
    let there = || with_cluster(world, name, passing(name, origin));
    let destination = world.case.facts.destination.0;
    let Some(listener) = world.listener() else { return Vec::new() };
    if !listener.captures {
        let what = format!("let a service of its hosts have port {}", destination.port());
        return vec![in_a_file(PLAIN, what, origin, there())];
    }
    let declare = format!(
        "declare a service with address {} and port {} in a ServiceEntry that this workload sees",
        destination.ip(),
        destination.port()
    );
    let any = "let outboundTrafficPolicy be ALLOW_ANY, so that what nothing declares is passed on";
    vec![on_the_wire(PLAIN, declare, there()), in_a_file(BROAD, any, origin, there())]
}
