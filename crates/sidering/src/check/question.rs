//! The six questions, as they are written.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sidering_istio::{Fields, Node, Reader, Value, Workload};
use sidering_policy::{Claim, Claims, Inside};

/// What a test asks.
pub(super) enum Question<'n> {
    Mtls { workload: Workload },
    Accept(Accept),
    Authorize(Box<Authorize>),
    Dial(Dial),
    Route(Route),
    Validate { object: &'n Node },
}

pub(super) struct Accept {
    pub(super) workload: Workload,
    pub(super) port: u16,
    pub(super) protocol: Option<String>,
    pub(super) tls: bool,
    pub(super) alpn: Vec<String>,
    pub(super) certificate: bool,
    pub(super) speaks: Speaks,
}

/// What a client opens with, within TLS or without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Http10,
    Http11,
    H2,
    Other,
    Nothing,
}

pub(super) struct Authorize {
    pub(super) workload: Workload,
    pub(super) http: bool,
    pub(super) port: u16,
    pub(super) from: Option<String>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) source_ip: IpAddr,
    pub(super) remote_ip: Option<IpAddr>,
    pub(super) destination_ip: IpAddr,
    pub(super) sni: Option<String>,
    pub(super) claims: Option<Claims>,
}

pub(super) struct Dial {
    pub(super) client: Workload,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) subset: Option<String>,
    pub(super) inside: Inside,
    pub(super) host_header: Option<String>,
}

pub(super) struct Route {
    pub(super) client: Workload,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) scheme: String,
    pub(super) version: Inside,
}

/// Where a workload is: nobody's address (RFC 2544), so that nothing that is written is taken for it.
pub(super) const SELF: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));

const NAMES: &[&str] = &["mtls", "accept", "authorize", "dial", "route", "validate"];

const HTTP_VERSIONS: &[(&str, Inside)] =
    &[("HTTP/1.0", Inside::Http10), ("HTTP/1.1", Inside::Http11), ("HTTP/2", Inside::Http2)];

impl Question<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Mtls { .. } => "mtls",
            Self::Accept(_) => "accept",
            Self::Authorize(_) => "authorize",
            Self::Dial(_) => "dial",
            Self::Route(_) => "route",
            Self::Validate { .. } => "validate",
        }
    }
}

/// The one question of a test.
pub(super) fn read<'n>(f: &mut Fields<'n>, test: &Node, r: &mut Reader<'_>) -> Option<Question<'n>> {
    let asked: Vec<(&'static str, &'n Node)> =
        NAMES.iter().filter_map(|name| f.get(name).map(|node| (*name, node))).collect();
    let [(name, node)] = asked[..] else {
        r.error(test, format!("a test asks exactly one question: one of {}", NAMES.join(", ")));
        return None;
    };
    let mut f = r.fields(node, name);
    let question = match name {
        "mtls" => read_workload("workload", &mut f, node, r).map(|workload| Question::Mtls { workload }),
        "accept" => read_accept(&mut f, node, r).map(Question::Accept),
        "authorize" => read_authorize(&mut f, node, r).map(|asked| Question::Authorize(Box::new(asked))),
        "dial" => read_dial(&mut f, node, r).map(Question::Dial),
        "route" => read_route(&mut f, node, r).map(Question::Route),
        _ => required("object", &mut f, node, r).map(|object| Question::Validate { object }),
    };
    f.done(r);
    question
}

fn required<'n>(name: &'static str, f: &mut Fields<'n>, node: &Node, r: &mut Reader<'_>) -> Option<&'n Node> {
    let found = f.get(name);
    if found.is_none() {
        r.error(node, format!("`{name}` is missing"));
    }
    found
}

fn read_workload(
    name: &'static str,
    f: &mut Fields<'_>,
    node: &Node,
    r: &mut Reader<'_>,
) -> Option<Workload> {
    let node = required(name, f, node, r)?;
    let mut f = r.fields(node, name);
    let namespace = required("namespace", &mut f, node, r).and_then(|n| r.text(n, "namespace"));
    let labels: BTreeMap<String, String> =
        f.get("labels").map(|n| r.strings(n, "labels")).unwrap_or_default();
    let account = f.get("serviceAccount").and_then(|n| r.text(n, "serviceAccount"));
    f.done(r);
    Some(Workload {
        name: name.into(),
        namespace: namespace?.into(),
        service_account: account.unwrap_or("default").into(),
        labels,
        addresses: vec![SELF],
    })
}

fn read_port(f: &mut Fields<'_>, node: &Node, r: &mut Reader<'_>) -> Option<u16> {
    required("port", f, node, r).and_then(|n| r.port(n, "port"))
}

fn text(name: &'static str, f: &mut Fields<'_>, r: &mut Reader<'_>) -> Option<String> {
    f.get(name).and_then(|n| r.string(n, name)).map(str::to_owned)
}

fn read_accept(f: &mut Fields<'_>, node: &Node, r: &mut Reader<'_>) -> Option<Accept> {
    let workload = read_workload("workload", f, node, r);
    let port = read_port(f, node, r);
    let protocol = text("protocol", f, r);
    let client = required("client", f, node, r)?;
    let mut c = r.fields(client, "client");
    let tls = c.get("tls").and_then(|n| r.boolean(n, "tls")).unwrap_or(false);
    let alpn = c.get("alpn").map(|n| r.names(n, "alpn")).unwrap_or_default();
    let certificate = c.get("certificate").and_then(|n| r.boolean(n, "certificate")).unwrap_or(tls);
    let words = [
        ("http/1.0", Speaks::Http10),
        ("http/1.1", Speaks::Http11),
        ("h2", Speaks::H2),
        ("other", Speaks::Other),
        ("nothing", Speaks::Nothing),
    ];
    let speaks = c.get("speaks").and_then(|n| r.one_of(n, "speaks", &words)).unwrap_or(Speaks::Other);
    c.done(r);
    let alpn = alpn.iter().map(|name| name.to_string()).collect();
    Some(Accept { workload: workload?, port: port?, protocol, tls, alpn, certificate, speaks })
}

fn read_authorize(f: &mut Fields<'_>, node: &Node, r: &mut Reader<'_>) -> Option<Authorize> {
    let workload = read_workload("workload", f, node, r);
    let request = required("request", f, node, r)?;
    let mut q = r.fields(request, "request");
    let http = q.get("protocol").and_then(|n| r.one_of(n, "protocol", &[("HTTP", true), ("TCP", false)]));
    let port = read_port(&mut q, request, r);
    let from = text("from", &mut q, r);
    let method = text("method", &mut q, r);
    let path = text("path", &mut q, r);
    let host = text("host", &mut q, r);
    let headers = read_headers(&mut q, r);
    let source_ip = read_ip("sourceIp", &mut q, r);
    let remote_ip = read_ip("remoteIp", &mut q, r);
    let destination_ip = read_ip("destinationIp", &mut q, r);
    let sni = text("sni", &mut q, r);
    let claims = q.get("claims").map(|n| read_claims(n, r));
    q.done(r);
    Some(Authorize {
        workload: workload?,
        http: http.unwrap_or(true),
        port: port?,
        from,
        method: method.unwrap_or_else(|| "GET".to_owned()),
        path: path.unwrap_or_else(|| "/".to_owned()),
        host,
        headers,
        source_ip: source_ip.unwrap_or(Ipv4Addr::new(198, 18, 0, 2).into()),
        remote_ip,
        destination_ip: destination_ip.unwrap_or(SELF),
        sni,
        claims,
    })
}

fn read_headers(f: &mut Fields<'_>, r: &mut Reader<'_>) -> Vec<(String, String)> {
    let headers = f.get("headers").map(|n| r.strings(n, "headers")).unwrap_or_default();
    headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

fn read_ip(name: &'static str, f: &mut Fields<'_>, r: &mut Reader<'_>) -> Option<IpAddr> {
    let node = f.get(name)?;
    let text = r.text(node, name)?;
    let ip = text.parse().ok();
    if ip.is_none() {
        r.error(node, format!("{name} {text:?} is no IP address; write it as 10.0.0.1"));
    }
    ip
}

fn read_claims(node: &Node, r: &mut Reader<'_>) -> Claims {
    let mut claims = Claims::new();
    for entry in r.entries(node, "claims") {
        let claim = match &entry.value.value {
            Value::Map(_) => Claim::Map(read_claims(&entry.value, r)),
            Value::List(_) => {
                Claim::List(r.names(&entry.value, "claim").iter().map(|item| item.to_string()).collect())
            }
            // Only strings are ever matched.
            Value::Scalar { .. } if entry.value.kind() != "a string" => continue,
            Value::Scalar { text, .. } => Claim::Text(text.clone()),
        };
        claims.insert(entry.key.clone(), claim);
    }
    claims
}

fn read_dial(f: &mut Fields<'_>, node: &Node, r: &mut Reader<'_>) -> Option<Dial> {
    let client = read_workload("client", f, node, r);
    let host = required("host", f, node, r).and_then(|n| r.text(n, "host"));
    let port = read_port(f, node, r);
    let subset = text("subset", f, r);
    let inside = f.get("http").and_then(|n| r.one_of(n, "http", HTTP_VERSIONS)).unwrap_or(Inside::Tcp);
    let host_header = text("hostHeader", f, r);
    Some(Dial { client: client?, host: host?.to_owned(), port: port?, subset, inside, host_header })
}

fn read_route(f: &mut Fields<'_>, node: &Node, r: &mut Reader<'_>) -> Option<Route> {
    let client = read_workload("client", f, node, r);
    let request = required("request", f, node, r)?;
    let mut q = r.fields(request, "request");
    let method = text("method", &mut q, r);
    let host = text("host", &mut q, r);
    let port = read_port(&mut q, request, r);
    let path = text("path", &mut q, r);
    let headers = read_headers(&mut q, r);
    let scheme = text("scheme", &mut q, r);
    let version = q.get("version").and_then(|n| r.one_of(n, "version", HTTP_VERSIONS));
    q.done(r);
    Some(Route {
        client: client?,
        method: method.unwrap_or_else(|| "GET".to_owned()),
        host: host.unwrap_or_default(),
        port: port?,
        path: path.unwrap_or_else(|| "/".to_owned()),
        headers,
        scheme: scheme.unwrap_or_else(|| "http".to_owned()),
        version: version.unwrap_or(Inside::Http11),
    })
}
