//! What each mode of a port accepts, row by row, said with chains as a producer would, and Envoy's order of matching.

use std::sync::Arc;

use super::{Needs, accept, needs};
use crate::sample::{chain, facts, listener, origin};
use crate::{Chain, ChainMatch, Facts, Listener, Refusal, Snapshot, Transport};

const HTTP_TOKENS: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
const TOKENS: &[&str] = &["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
const SNIFFED: &[&str] = &["http/1.1", "h2c"];
const ORDINARY: &[&str] = &["h2", "http/1.1"];

fn on(port: Option<u16>, transport: Option<Transport>, protocols: &[&str]) -> ChainMatch {
    ChainMatch {
        destination_port: port,
        transport,
        application_protocols: protocols.iter().map(|name| (*name).into()).collect(),
        ..ChainMatch::default()
    }
}

/// The chains of one mode and declared protocol on port 8080.
fn chains(mode: &str, class: &str) -> Vec<Arc<Chain>> {
    let tls = |name, protocols| chain(name, on(Some(8080), Some(Transport::Tls), protocols), true);
    let raw = |name, protocols| chain(name, on(Some(8080), Some(Transport::Raw), protocols), false);
    let opaque = || chain("opaque", on(Some(8080), Some(Transport::Tls), &[]), false);
    match (mode, class) {
        ("STRICT", "HTTP") => vec![tls("mtls http", &[])],
        ("STRICT", "TCP") => vec![tls("mtls tcp", &[])],
        ("STRICT", _) => vec![tls("mtls http", HTTP_TOKENS), tls("mtls tcp", &[])],
        ("PERMISSIVE", "HTTP") => vec![tls("mtls http", TOKENS), raw("plain http", &[])],
        ("PERMISSIVE", "TCP") => vec![tls("mtls tcp", TOKENS), raw("plain tcp", &[]), opaque()],
        ("PERMISSIVE", _) => vec![
            tls("mtls http", HTTP_TOKENS),
            tls("mtls tcp", &["istio", "istio-peer-exchange"]),
            raw("plain http", SNIFFED),
            raw("plain tcp", &[]),
            opaque(),
        ],
        ("DISABLE", "HTTP") => vec![raw("plain http", &[])],
        ("DISABLE", "TCP") => vec![raw("plain tcp", &[])],
        _ => vec![raw("plain http", SNIFFED), raw("plain tcp", &[])],
    }
}

fn asked(chains: Vec<Arc<Chain>>, facts: &Facts) -> Result<String, Refusal> {
    let snapshot = Snapshot { listeners: vec![listener(chains).into()], ..Snapshot::default() };
    accept(&snapshot, "inbound", facts).map(|chain| chain.name.to_string())
}

#[test]
fn what_each_mode_accepts() {
    use Transport::{Raw, Tls};
    let refused = Err(());
    for (mode, class, transport, protocols, expected) in [
        ("STRICT", "HTTP", Tls, ORDINARY, Ok("mtls http")),
        ("STRICT", "TCP", Tls, &[][..], Ok("mtls tcp")),
        ("STRICT", "AUTO", Tls, &["istio-http/1.1", "istio", "http/1.1"], Ok("mtls http")),
        ("STRICT", "AUTO", Tls, &["istio-http/1.0"], Ok("mtls http")),
        ("STRICT", "AUTO", Tls, &["istio-h2", "istio", "h2"], Ok("mtls http")),
        ("STRICT", "AUTO", Tls, ORDINARY, Ok("mtls tcp")),
        ("STRICT", "HTTP", Raw, &["http/1.1"], refused),
        ("STRICT", "TCP", Raw, &[], refused),
        ("STRICT", "AUTO", Raw, &["http/1.1"], refused),
        ("PERMISSIVE", "HTTP", Tls, &["istio-http/1.1", "istio", "http/1.1"], Ok("mtls http")),
        ("PERMISSIVE", "HTTP", Tls, &["istio"], Ok("mtls http")),
        ("PERMISSIVE", "HTTP", Raw, &["http/1.1"], Ok("plain http")),
        ("PERMISSIVE", "HTTP", Tls, ORDINARY, refused),
        ("PERMISSIVE", "TCP", Tls, &["istio-peer-exchange", "istio"], Ok("mtls tcp")),
        ("PERMISSIVE", "TCP", Tls, ORDINARY, Ok("opaque")),
        ("PERMISSIVE", "TCP", Raw, &[], Ok("plain tcp")),
        ("PERMISSIVE", "AUTO", Tls, &["istio-h2", "istio", "h2"], Ok("mtls http")),
        ("PERMISSIVE", "AUTO", Tls, &["istio-peer-exchange", "istio"], Ok("mtls tcp")),
        ("PERMISSIVE", "AUTO", Tls, ORDINARY, Ok("opaque")),
        ("PERMISSIVE", "AUTO", Tls, &[], Ok("opaque")),
        ("PERMISSIVE", "AUTO", Raw, &["http/1.1"], Ok("plain http")),
        ("PERMISSIVE", "AUTO", Raw, &["h2c"], Ok("plain http")),
        ("PERMISSIVE", "AUTO", Raw, &["http/1.0"], Ok("plain tcp")),
        ("PERMISSIVE", "AUTO", Raw, &[], Ok("plain tcp")),
        ("DISABLE", "HTTP", Raw, &[], Ok("plain http")),
        ("DISABLE", "TCP", Raw, &[], Ok("plain tcp")),
        ("DISABLE", "AUTO", Raw, &["http/1.1"], Ok("plain http")),
        ("DISABLE", "AUTO", Raw, &[], Ok("plain tcp")),
        ("DISABLE", "HTTP", Tls, ORDINARY, refused),
        ("DISABLE", "AUTO", Tls, ORDINARY, refused),
    ] {
        let answer = asked(chains(mode, class), &facts(8080, transport, protocols));
        let case = format!("{mode} {class} {transport:?} {protocols:?}");
        assert_eq!(answer.as_deref().map_err(|_| ()), expected, "{case}");
    }
}

#[test]
fn a_refusal_says_why_and_whose_decision_it_is() {
    let raw = facts(8080, Transport::Raw, &[]);
    let tls = facts(8080, Transport::Tls, &["h2"]);
    assert_eq!(
        asked(chains("STRICT", "AUTO"), &raw),
        Err(Refusal::PlaintextToStrict { origin: origin("mtls http") })
    );
    let refused = Refusal::TlsNotAccepted { port: 8080, origin: origin("mtls http") };
    assert_eq!(asked(chains("PERMISSIVE", "HTTP"), &tls), Err(refused));
    let refused = Refusal::TlsNotAccepted { port: 8080, origin: origin("plain tcp") };
    assert_eq!(asked(chains("DISABLE", "TCP"), &tls), Err(refused));
    assert_eq!(asked(vec![], &raw), Err(Refusal::NoChain { port: 8080, origin: origin("listener") }));
    let http_only = vec![chain("http", on(Some(8080), None, SNIFFED), false)];
    assert_eq!(asked(http_only, &raw), Err(Refusal::NoChain { port: 8080, origin: origin("http") }));
    // TLS that is routed by name and not terminated is nobody's STRICT.
    let by_name = vec![chain("sni", on(Some(8080), Some(Transport::Tls), &[]), false)];
    assert_eq!(asked(by_name, &raw), Err(Refusal::NoChain { port: 8080, origin: origin("sni") }));
    assert_eq!(
        accept(&Snapshot::default(), "gone", &raw).unwrap_err(),
        Refusal::NoListener { listener: "gone".into() }
    );
}

#[test]
fn a_general_chain_never_takes_what_the_port_itself_refuses() {
    let mut all = chains("STRICT", "HTTP");
    all.push(chain("any port", on(None, None, &[]), false));
    assert!(matches!(
        asked(all.clone(), &facts(8080, Transport::Raw, &[])),
        Err(Refusal::PlaintextToStrict { .. })
    ));
    assert_eq!(asked(all, &facts(9090, Transport::Raw, &[])).unwrap(), "any port");
}

#[test]
fn a_server_name_is_matched_exactly_then_by_the_longest_wildcard_then_by_none() {
    let named = |name: &str, names: &[&str]| {
        let server_names = names.iter().map(|name| (*name).into()).collect();
        chain(name, ChainMatch { server_names, ..ChainMatch::default() }, false)
    };
    let all = vec![
        named("none", &[]),
        named("short", &["*.com", "elsewhere.org"]),
        named("long", &["*.example.com"]),
        named("exact", &["a.example.com"]),
    ];
    for (server_name, expected) in [
        (Some("a.example.com"), "exact"),
        (Some("b.example.com"), "long"),
        (Some("example.com"), "short"),
        (Some("elsewhere.org"), "short"),
        (Some("other.org"), "none"),
        (None, "none"),
    ] {
        let facts = Facts { server_name: server_name.map(Into::into), ..facts(443, Transport::Tls, &[]) };
        assert_eq!(asked(all.clone(), &facts).unwrap(), expected, "{server_name:?}");
    }
}

#[test]
fn there_is_no_way_back_from_a_more_specific_server_name_or_transport() {
    let specific = ChainMatch {
        server_names: vec!["a.example".into()],
        transport: Some(Transport::Tls),
        application_protocols: vec!["h2".into()],
        ..ChainMatch::default()
    };
    let all = vec![chain("specific", specific, false), chain("general", ChainMatch::default(), false)];
    let facts = Facts { server_name: Some("a.example".into()), ..facts(443, Transport::Tls, &["http/1.1"]) };
    assert!(asked(all, &facts).is_err());
}

#[test]
fn a_destination_address_beats_any_and_its_chains_are_the_only_ones() {
    let to = |name, address: &str, transport| {
        let destinations = vec![address.parse().unwrap()];
        chain(name, ChainMatch { destinations, transport, ..ChainMatch::default() }, false)
    };
    let any = chain("any", ChainMatch::default(), false);
    let all = vec![any, to("other", "10.0.0.7", None), to("own", "10.0.0.1", Some(Transport::Tls))];
    assert_eq!(asked(all.clone(), &facts(80, Transport::Tls, &[])).unwrap(), "own");
    assert!(asked(all.clone(), &facts(80, Transport::Raw, &[])).is_err());
    assert_eq!(asked(all[..2].to_vec(), &facts(80, Transport::Raw, &[])).unwrap(), "any");
}

#[test]
fn the_first_protocol_offered_that_has_a_chain_decides() {
    let of = |name, protocol| chain(name, on(None, None, &[protocol]), false);
    let all = vec![of("one", "http/1.1"), of("two", "h2"), chain("rest", on(None, None, &[]), false)];
    assert_eq!(asked(all.clone(), &facts(1, Transport::Tls, &["x", "h2", "http/1.1"])).unwrap(), "two");
    assert_eq!(asked(all, &facts(1, Transport::Tls, &["x"])).unwrap(), "rest");
}

#[test]
fn the_capture_port_itself_is_refused() {
    let any = vec![chain("any", ChainMatch::default(), false)];
    let refused = Refusal::NoChain { port: 15006, origin: origin("listener") };
    assert_eq!(asked(any.clone(), &facts(15006, Transport::Raw, &[])), Err(refused));
    let own = Listener { captures: false, ..listener(any) };
    let snapshot = Snapshot { listeners: vec![own.into()], ..Snapshot::default() };
    assert!(accept(&snapshot, "inbound", &facts(15006, Transport::Raw, &[])).is_ok());
}

#[test]
fn only_what_some_chain_for_the_destination_asks_for_is_looked_at() {
    let to_8080 = facts(8080, Transport::Raw, &[]).destination;
    for (mode, class, tls, http) in [
        ("STRICT", "HTTP", true, false),
        ("STRICT", "AUTO", true, false),
        ("PERMISSIVE", "HTTP", true, false),
        ("PERMISSIVE", "TCP", true, false),
        ("PERMISSIVE", "AUTO", true, true),
        ("DISABLE", "TCP", false, false),
        ("DISABLE", "HTTP", false, false),
        ("DISABLE", "AUTO", false, true),
    ] {
        let mut all = chains(mode, class);
        all.push(chain("elsewhere", on(None, Some(Transport::Tls), SNIFFED), true));
        assert_eq!(needs(&listener(all), to_8080), Needs { tls, http }, "{mode} {class}");
    }
    assert_eq!(needs(&listener(vec![]), to_8080), Needs::default());
}
