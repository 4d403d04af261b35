//! Hosts, matches in order, and what a missing or repeated header means.

use std::sync::Arc;

use super::*;
use crate::sample::{cluster, origin, responding};
use crate::{Discovery, FullRegex};

type Headers<'a> = &'a [(&'a str, &'a str)];

fn host(name: &str, routes: Vec<Route>) -> Arc<VirtualHost> {
    Arc::new(VirtualHost { name: name.into(), routes, origin: origin(name) })
}

fn table(any: Option<Arc<VirtualHost>>) -> RouteTable {
    let of = |name: &str| host(name, vec![responding(name, vec![])]);
    RouteTable {
        name: "80".into(),
        exact: Map::from_iter([("orders.shop".into(), of("exact")), ("[::1]".into(), of("v6"))]),
        suffixes: vec![(".b.example".into(), of("long")), (".example".into(), of("short"))],
        any,
        unknown: UnknownHost::NotFound,
        origin: origin("table"),
    }
}

/// The name of the route taken.
fn taken(table: &RouteTable, authority: &str, path: &str, headers: Headers<'_>) -> Result<String, Refusal> {
    let header = |name: &str, each: &mut dyn FnMut(&[u8])| {
        headers.iter().filter(|(n, _)| *n == name).for_each(|(_, value)| each(value.as_bytes()));
    };
    let request = RouteRequest { method: "GET", authority, scheme: "http", path, header: &header };
    route(&Snapshot::default(), table, &request, 0).map(|routed| routed.route.name.to_string())
}

#[test]
fn hosts() {
    let all = table(Some(host("any", vec![responding("any", vec![])])));
    for (authority, expected) in [
        ("orders.shop", "exact"),
        ("Orders.SHOP:8080", "exact"),
        ("a.b.example", "long"),
        ("a.c.example:1", "short"),
        (".b.example", "short"),
        ("example", "any"),
        ("[::1]:80", "v6"),
        ("[::1]", "v6"),
        ("::1", "any"),
        ("", "any"),
    ] {
        assert_eq!(taken(&all, authority, "/", &[]).unwrap(), expected, "{authority}");
    }
}

#[test]
fn unknown_hosts() {
    let refused = |unknown| {
        let table = RouteTable { unknown, ..table(None) };
        taken(&table, "Nowhere:1", "/", &[]).unwrap_err()
    };
    let expected =
        |blackhole| Refusal::UnknownHost { host: "Nowhere:1".into(), blackhole, origin: origin("table") };
    assert_eq!(refused(UnknownHost::NotFound), expected(false));
    assert_eq!(refused(UnknownHost::BlackHole), expected(true));
}

fn path(value: StringMatch, ignore_case: bool) -> RouteMatch {
    RouteMatch { path: Some(PathMatch { value, ignore_case }), ..RouteMatch::default() }
}

/// Would a route with this match be taken?
fn holds(entry: RouteMatch, path: &str, headers: Headers<'_>) -> bool {
    let only = table(Some(host("any", vec![responding("r", vec![entry])])));
    match taken(&only, "x:80", path, headers) {
        Ok(_) => true,
        Err(Refusal::NoRoute { virtual_host, origin: by }) => {
            assert_eq!((&*virtual_host, by), ("any", origin("any")));
            false
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let exact = |text: &str| path(StringMatch::Exact(text.into()), false);
    let routes = vec![
        responding("either", vec![exact("/a"), exact("/b")]),
        responding("never", vec![exact("/a")]),
        responding("rest", vec![]),
    ];
    let table = table(Some(host("any", routes)));
    for (path, expected) in [("/a", "either"), ("/b", "either"), ("/c", "rest")] {
        assert_eq!(taken(&table, "x", path, &[]).unwrap(), expected);
    }
}

#[test]
fn paths() {
    let (exact, prefix) = (|t: &str| StringMatch::Exact(t.into()), |t: &str| StringMatch::Prefix(t.into()));
    let regex = |t: &str| StringMatch::Regex(FullRegex::new(t).unwrap());
    for (value, ignore_case, asked, expected) in [
        (exact("/foo"), false, "/foo", true),
        (exact("/foo"), false, "/Foo", false),
        (exact("/Foo"), true, "/fOO", true),
        (prefix("/foo"), false, "/foobar", true),
        (prefix("/foo"), true, "/FOObar", true),
        (prefix("/foo"), true, "/fo", false),
        (regex("/f.o"), false, "/foo", true),
        (regex("/f.o"), false, "/foobar", false),
        (regex("/f.o"), true, "/FOO", false),
    ] {
        let label = format!("{value:?} {ignore_case} {asked}");
        assert_eq!(holds(path(value, ignore_case), asked, &[]), expected, "{label}");
    }
}

#[test]
fn pseudo_headers_and_all_parts_together() {
    let part = |text: &str| Some(StringMatch::Exact(text.into()));
    let good = || RouteMatch {
        method: part("GET"),
        authority: part("x:80"),
        scheme: part("http"),
        ..RouteMatch::default()
    };
    assert!(holds(good(), "/", &[]));
    assert!(!holds(RouteMatch { method: part("POST"), ..good() }, "/", &[]));
    assert!(!holds(RouteMatch { authority: part("x"), ..good() }, "/", &[]), "the authority keeps its port");
    assert!(!holds(RouteMatch { scheme: part("https"), ..good() }, "/", &[]));
}

#[test]
fn headers() {
    let exact = |t: &str| Some(StringMatch::Exact(t.into()));
    let any = || Some(StringMatch::Regex(FullRegex::new(".*").unwrap()));
    let (one, two): (Headers<'_>, Headers<'_>) = (&[("x", "a")], &[("x", "a"), ("x", "b")]);
    for (value, inverted, headers, expected) in [
        (exact("a"), false, one, true),
        (exact("b"), false, one, false),
        (exact("a"), false, &[][..], false),
        (exact("a,b"), false, two, true),
        (exact("a"), false, two, false),
        (None, false, one, true),
        (None, false, &[], false),
        (None, false, &[("x", "")], true),
        (exact("a"), true, one, false),
        (exact("b"), true, one, true),
        (exact("a"), true, &[], true),
        (exact(""), true, &[], false),
        (any(), true, &[], false),
        (None, true, &[], true),
        (None, true, one, false),
    ] {
        let label = format!("{value:?} {inverted} {headers:?}");
        let test = HeaderMatch { name: "x".into(), value, inverted };
        let entry = RouteMatch { headers: vec![test], ..RouteMatch::default() };
        assert_eq!(holds(entry, "/", headers), expected, "{label}");
    }
    for (name, value) in [(":method", "GET"), (":authority", "x:80"), ("host", "x:80"), (":scheme", "http")] {
        let test = HeaderMatch { name: name.into(), value: exact(value), inverted: false };
        assert!(holds(RouteMatch { headers: vec![test], ..RouteMatch::default() }, "/", &[]), "{name}");
    }
}

#[test]
fn forwarding_resolves_the_cluster() {
    let to = |name: &str| RouteAction::Forward {
        clusters: vec![WeightedCluster { cluster: name.into(), weight: 1 }],
        host: None,
    };
    let clusters = Map::from_iter([("known".into(), cluster("known", Discovery::Static(vec![])).into())]);
    let snapshot = Snapshot { clusters, ..Snapshot::default() };
    let request =
        RouteRequest { method: "GET", authority: "x", scheme: "http", path: "/", header: &|_, _| {} };
    let with = |action| table(Some(host("any", vec![Route { action, ..responding("r", vec![]) }])));
    let known = with(to("known"));
    assert_eq!(&*route(&snapshot, &known, &request, 0).unwrap().cluster.unwrap().name, "known");
    let missing = Refusal::NoCluster { cluster: "v9".into(), origin: origin("r") };
    assert_eq!(route(&snapshot, &with(to("v9")), &request, 0).unwrap_err(), missing);
}
