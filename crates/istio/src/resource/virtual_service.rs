//! VirtualService: routes of a host. A match that we cannot evaluate is an error, since leaving
//! it out would widen the route; an action that is not executed yet is a warning.

use std::sync::Arc;
use std::time::Duration;

use sidering_policy::{FullRegex, Position, StringMatch};

use super::meta::{Labels, Meta, envelope, read_export_to, read_match_labels};
use crate::host;
use crate::read::{Fields, Reader};
use crate::yaml::{Node, Value};

/// Istio's own limit.
const MAX_REGEX: usize = 1024;

#[derive(Debug)]
pub(crate) struct VirtualService {
    pub(crate) meta: Meta,
    /// In full.
    pub(crate) hosts: Vec<Arc<str>>,
    pub(crate) gateways: Vec<Arc<str>>,
    pub(crate) export_to: Vec<Arc<str>>,
    pub(crate) http: Vec<Arc<HttpRoute>>,
    pub(crate) tcp: Vec<Arc<TcpRoute>>,
}

#[derive(Debug)]
pub(crate) struct HttpRoute {
    pub(crate) name: Arc<str>,
    pub(crate) matches: Vec<HttpMatch>,
    pub(crate) route: Vec<WeightedDestination>,
    pub(crate) direct: Option<Direct>,
    pub(crate) abort: Option<Abort>,
    pub(crate) headers: Edits,
    pub(crate) authority: Option<Arc<str>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) struct TcpRoute {
    /// Any of these; empty matches all.
    pub(crate) matches: Vec<Scope>,
    pub(crate) route: Vec<WeightedDestination>,
    pub(crate) position: Position,
}

/// What a match asks of the client and the listener: known before any request.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) port: Option<u16>,
    pub(crate) source_labels: Labels,
    pub(crate) source_namespace: Option<Arc<str>>,
    pub(crate) gateways: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct HttpMatch {
    pub(crate) scope: Scope,
    pub(crate) uri: Option<Text>,
    pub(crate) ignore_uri_case: bool,
    pub(crate) method: Option<Text>,
    pub(crate) authority: Option<Text>,
    pub(crate) scheme: Option<Text>,
    /// Lower-case name, test (`None`: presence), inverted.
    pub(crate) headers: Vec<(Arc<str>, Option<Text>, bool)>,
}

/// Istio's StringMatch.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    /// Matches the whole.
    Regex(FullRegex),
}

#[derive(Debug)]
pub(crate) struct WeightedDestination {
    pub(crate) destination: Destination,
    pub(crate) weight: u32,
    pub(crate) headers: Edits,
}

#[derive(Debug)]
pub(crate) struct Destination {
    /// In full.
    pub(crate) host: Arc<str>,
    pub(crate) subset: Option<Arc<str>>,
    pub(crate) port: Option<u16>,
}

/// What is answered without asking anybody.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) status: u16,
    pub(crate) body: Arc<str>,
}

/// `fault.abort` for everyone.
#[derive(Debug)]
pub(crate) struct Abort {
    pub(crate) status: u16,
}

#[derive(Debug, Default)]
pub(crate) struct Edits {
    pub(crate) request: HeaderEdits,
    pub(crate) response: HeaderEdits,
}

/// Lower-case names.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderEdits {
    pub(crate) set: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) add: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) remove: Vec<Arc<str>>,
}

impl Text {
    pub(crate) fn to_match(&self, lower: bool) -> StringMatch {
        let text = |text: &Arc<str>| if lower { text.to_lowercase().into() } else { text.clone() };
        match self {
            Self::Exact(value) => StringMatch::Exact(text(value)),
            Self::Prefix(value) => StringMatch::Prefix(text(value)),
            Self::Regex(regex) => StringMatch::Regex(regex.clone()),
        }
    }
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<VirtualService> {
    let (meta, spec) = envelope(document, "VirtualService", r)?;
    let Some(spec) = spec else {
        r.error(document, "VirtualService needs a spec with hosts");
        return None;
    };
    let mut f = r.fields(spec, "VirtualService spec");
    let mut hosts = Vec::new();
    for (text, at) in f.get("hosts").map(|n| r.texts(n, "hosts")).unwrap_or_default() {
        match host::check(text) {
            Ok(()) => hosts.push(host::expand(text, &meta.namespace)),
            Err(_) if text.parse::<std::net::IpAddr>().is_ok() => hosts.push(text.into()),
            Err(message) => r.error(at, message),
        }
    }
    if hosts.is_empty() {
        r.error(spec, "VirtualService needs at least one host");
    }
    let gateways = f.get("gateways").map(|n| r.names(n, "gateways")).unwrap_or_default();
    let export_to =
        f.get("exportTo").map(|n| read_export_to(n, &meta.namespace, false, r)).unwrap_or_default();
    let mut http = Vec::new();
    if let Some(n) = f.get("http") {
        for item in r.list(n, "http") {
            http.push(Arc::new(read_http(item, &meta, r)));
        }
    }
    let mut tcp = Vec::new();
    if let Some(n) = f.get("tcp") {
        for item in r.list(n, "tcp") {
            tcp.push(Arc::new(read_tcp(item, &meta, r)));
        }
    }
    f.later(&["tls"], r);
    f.done(r);
    Some(VirtualService { meta, hosts, gateways, export_to, http, tcp })
}

fn read_http(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> HttpRoute {
    let mut f = r.fields(node, "http route");
    let name = f.get("name").and_then(|n| r.string(n, "name")).unwrap_or_default();
    let mut matches = Vec::new();
    if let Some(n) = f.get("match") {
        matches.extend(r.list(n, "match").iter().map(|item| read_http_match(item, r)));
    }
    let route = f.get("route").map(|n| read_destinations(n, meta, true, r)).unwrap_or_default();
    let direct = f.get("directResponse").and_then(|n| read_direct(n, r));
    let abort = f.get("fault").and_then(|n| read_fault(n, r));
    let headers = f.get("headers").map(|n| read_edits(n, r)).unwrap_or_default();
    let authority = f.get("rewrite").and_then(|n| read_rewrite(n, r));
    let timeout =
        f.get("timeout").and_then(|n| r.duration(n, "timeout")).filter(|timeout| !timeout.is_zero());
    let unexecuted = ["redirect", "delegate"];
    let closed = unexecuted.into_iter().any(|name| f.get(name).is_some());
    f.later(&unexecuted, r);
    f.later(&["retries", "mirror", "mirrors", "mirrorPercentage", "corsPolicy"], r);
    let answered = ["route", "directResponse"].into_iter().any(|name| f.get(name).is_some());
    f.done(r);
    if !answered && !closed {
        r.error(node, "an http route needs `route`, `directResponse` or `redirect`");
    }
    if !route.is_empty() && direct.is_some() {
        r.error(node, "route and directResponse exclude each other; keep one of them");
    }
    // A redirect that is not executed must not become a route to somewhere.
    let direct = match direct {
        None if closed => Some(Direct { status: 503, body: "this route is not executed yet".into() }),
        direct => direct,
    };
    HttpRoute {
        name: name.into(),
        matches,
        route,
        direct,
        abort,
        headers,
        authority,
        timeout,
        position: r.position(node),
    }
}

fn read_http_match(node: &Node, r: &mut Reader<'_>) -> HttpMatch {
    let mut f = r.fields(node, "http match");
    let mut value = HttpMatch { scope: read_scope(&mut f, r), ..HttpMatch::default() };
    for (name, field) in [
        ("uri", &mut value.uri),
        ("method", &mut value.method),
        ("authority", &mut value.authority),
        ("scheme", &mut value.scheme),
    ] {
        *field = f.get(name).and_then(|n| {
            let before = r.findings.errors();
            let text = read_text(n, name, r);
            if text.is_none() && r.findings.errors() == before {
                r.error(n, format!("{name} needs exact, prefix or regex"));
            }
            text
        });
    }
    value.ignore_uri_case =
        f.get("ignoreUriCase").and_then(|n| r.boolean(n, "ignoreUriCase")).unwrap_or(false);
    for (name, inverted) in [("headers", false), ("withoutHeaders", true)] {
        let Some(n) = f.get(name) else { continue };
        for entry in r.entries(n, name) {
            let text = if entry.value.is_null() { None } else { read_text(&entry.value, name, r) };
            value.headers.push((entry.key.to_ascii_lowercase().into(), text, inverted));
        }
    }
    f.refuse(&["queryParams"], "the route would match more than was meant; match by uri or headers", r);
    f.allow(&["name", "statPrefix"]);
    done_strictly(f, r);
    value
}

/// An unknown field of a match would make it wider if it were passed over.
fn done_strictly(f: Fields<'_>, r: &mut Reader<'_>) {
    r.strictly(|r| f.done(r));
}

fn read_scope(f: &mut Fields<'_>, r: &mut Reader<'_>) -> Scope {
    Scope {
        port: f.get("port").and_then(|n| r.port(n, "port")),
        source_labels: f.get("sourceLabels").map(|n| read_match_labels(n, r)).unwrap_or_default(),
        source_namespace: f.get("sourceNamespace").and_then(|n| r.text(n, "sourceNamespace")).map(Arc::from),
        gateways: f.get("gateways").map(|n| r.names(n, "gateways")).unwrap_or_default(),
    }
}

/// `{exact|prefix|regex: ...}`; `None` for an empty matcher and for the regex `*`, which ask for presence.
fn read_text(node: &Node, what: &'static str, r: &mut Reader<'_>) -> Option<Text> {
    let mut f = r.fields(node, what);
    let exact = f.get("exact").and_then(|n| r.string(n, "exact")).map(|text| Text::Exact(text.into()));
    let prefix = f.get("prefix").and_then(|n| r.text(n, "prefix")).map(|text| Text::Prefix(text.into()));
    let regex = f.get("regex").and_then(|n| read_regex(n, r));
    done_strictly(f, r);
    let mut given = [exact, prefix, regex].into_iter().flatten();
    let first = given.next();
    if given.next().is_some() {
        r.error(node, format!("{what} takes one of exact, prefix and regex"));
    }
    first
}

fn read_regex(node: &Node, r: &mut Reader<'_>) -> Option<Text> {
    let text = r.text(node, "regex").filter(|text| *text != "*")?;
    if text.len() > MAX_REGEX {
        r.error(node, format!("regex is longer than {MAX_REGEX} characters; use several matches"));
        return None;
    }
    if !r.findings.has_room() {
        r.error(node, "the regular expressions take more than 64 MiB together; use exact or prefix");
        return None;
    }
    match FullRegex::new(text) {
        Ok(regex) => {
            r.findings.take_room(regex.room());
            Some(Text::Regex(regex))
        }
        Err(error) => {
            r.error(node, format!("regex {text:?} cannot be used: {error}"));
            None
        }
    }
}

fn read_destinations(node: &Node, meta: &Meta, http: bool, r: &mut Reader<'_>) -> Vec<WeightedDestination> {
    let items = r.list(node, "route");
    let mut list = Vec::new();
    for item in items {
        let mut f = r.fields(item, "route");
        let destination = match f.get("destination") {
            Some(n) => read_destination(n, meta, r),
            None => {
                r.error(item, "a route needs a `destination`");
                None
            }
        };
        let weight = f.get("weight").and_then(|n| r.count(n, "weight")).unwrap_or(0);
        let headers = f.get("headers").filter(|_| http);
        if let Some(n) = headers.filter(|_| items.len() > 1) {
            r.warning(
                n,
                "`headers` of one of several destinations is decided, not executed: it has no effect yet",
            );
        }
        let headers = headers.map(|n| read_edits(n, r)).unwrap_or_default();
        f.done(r);
        list.extend(destination.map(|destination| WeightedDestination { destination, weight, headers }));
    }
    if items.is_empty() {
        r.error(node, "route needs at least one destination");
    }
    if list.len() > 1 && list.iter().all(|item| item.weight == 0) {
        r.error(node, "of several destinations at least one needs a `weight`");
    }
    list
}

fn read_destination(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> Option<Destination> {
    let mut f = r.fields(node, "destination");
    let host = match f.get("host") {
        Some(n) => r.text(n, "host"),
        None => {
            r.error(node, "a destination needs a `host`");
            None
        }
    };
    let subset = f.get("subset").and_then(|n| r.text(n, "subset")).map(Arc::from);
    let port = f.get("port").and_then(|n| {
        let mut p = r.fields(n, "port");
        let number = p.get("number").and_then(|n| r.port(n, "port number"));
        p.done(r);
        number
    });
    f.done(r);
    Some(Destination { host: host::expand(host?, &meta.namespace), subset, port })
}

fn read_direct(node: &Node, r: &mut Reader<'_>) -> Option<Direct> {
    let mut f = r.fields(node, "directResponse");
    let status = match f.get("status") {
        Some(n) => read_status(n, r),
        None => {
            r.error(node, "directResponse needs a `status`");
            None
        }
    };
    let mut body = "";
    if let Some(n) = f.get("body") {
        let mut b = r.fields(n, "body");
        body = b.get("string").and_then(|n| r.string(n, "string")).unwrap_or_default();
        b.later(&["bytes"], r);
        b.done(r);
    }
    f.done(r);
    Some(Direct { status: status?, body: body.into() })
}

fn read_status(node: &Node, r: &mut Reader<'_>) -> Option<u16> {
    let status = r.integer(node, "status")?;
    let legal = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
    if legal.is_none() {
        r.error(node, format!("status {status} is out of range; write 200 to 599"));
    }
    legal
}

fn read_fault(node: &Node, r: &mut Reader<'_>) -> Option<Abort> {
    let mut f = r.fields(node, "fault");
    f.later(&["delay"], r);
    let abort = f.get("abort");
    f.done(r);
    let abort = abort?;
    let mut a = r.fields(abort, "abort");
    let status = a.get("httpStatus").and_then(|n| read_status(n, r));
    // Without a percentage nothing is aborted.
    let percentage = a.get("percentage").map_or(0.0, |n| {
        let mut p = r.fields(n, "percentage");
        let value = p.get("value").and_then(|n| read_percentage(n, r)).unwrap_or_default();
        p.done(r);
        value
    });
    a.later(&["grpcStatus", "http2Error"], r);
    a.done(r);
    if percentage > 0.0 && percentage < 100.0 {
        r.warning(abort, "`abort` for a part of the requests is decided, not executed: it has no effect yet");
    }
    status.filter(|_| percentage >= 100.0).map(|status| Abort { status })
}

fn read_percentage(node: &Node, r: &mut Reader<'_>) -> Option<f64> {
    let number = match &node.value {
        Value::Scalar { text, plain: true } => text.parse().ok(),
        _ => None,
    };
    let percentage = number.filter(|number| (0.0..=100.0).contains(number));
    if percentage.is_none() {
        r.error(node, "percentage must be a number from 0 to 100");
    }
    percentage
}

/// The authority of `rewrite`.
fn read_rewrite(node: &Node, r: &mut Reader<'_>) -> Option<Arc<str>> {
    let mut f = r.fields(node, "rewrite");
    let authority = f.get("authority").and_then(|n| r.text(n, "authority")).map(Arc::from);
    f.later(&["uri", "uriRegexRewrite"], r);
    f.done(r);
    authority
}

fn read_edits(node: &Node, r: &mut Reader<'_>) -> Edits {
    let mut f = r.fields(node, "headers");
    let mut edits = Edits::default();
    for (name, field) in [("request", &mut edits.request), ("response", &mut edits.response)] {
        if let Some(n) = f.get(name) {
            *field = read_header_edits(n, name, r);
        }
    }
    f.done(r);
    edits
}

fn read_header_edits(node: &Node, what: &'static str, r: &mut Reader<'_>) -> HeaderEdits {
    let mut f = r.fields(node, what);
    let mut edits = HeaderEdits::default();
    for (name, field) in [("set", &mut edits.set), ("add", &mut edits.add)] {
        let Some(n) = f.get(name) else { continue };
        for entry in r.entries(n, name) {
            let value = r.string(&entry.value, name);
            if !is_header_name(&entry.key) || value.is_some_and(|value| value.contains(['\r', '\n', '\0'])) {
                r.error(&entry.value, format!("{:?} is no header; check its name and value", entry.key));
            } else if let Some(value) = value {
                field.push((entry.key.to_ascii_lowercase().into(), value.into()));
            }
        }
    }
    if let Some(n) = f.get("remove") {
        edits.remove = r.names(n, "remove").iter().map(|name| name.to_ascii_lowercase().into()).collect();
    }
    f.done(r);
    edits
}

/// An RFC 9110 token, or a pseudo header.
fn is_header_name(name: &str) -> bool {
    let token = name.strip_prefix(':').unwrap_or(name);
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn read_tcp(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> TcpRoute {
    let mut f = r.fields(node, "tcp route");
    let mut matches = Vec::new();
    if let Some(n) = f.get("match") {
        for item in r.list(n, "match") {
            let mut m = r.fields(item, "tcp match");
            matches.push(read_scope(&mut m, r));
            m.refuse(&["destinationSubnets", "sourceSubnet"], "the route would match more than was meant", r);
            done_strictly(m, r);
        }
    }
    let route = f.get("route").map(|n| read_destinations(n, meta, false, r)).unwrap_or_default();
    if route.is_empty() {
        r.error(node, "a tcp route needs a `route`");
    }
    f.done(r);
    TcpRoute { matches, route, position: r.position(node) }
}
