//! `accept` and `authorize` on the wire: what is sent, and whether what comes of it is what `check` says.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use sidering_tests::Subnet;

use super::application::{is_hello, is_request};
use super::client::Tls;
use super::exchange::Wire;
use super::table::{Case, text};
use super::world::OWN;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: wire\r\nConnection: close\r\n\r\n";

/// A case that can be sent to a listener of ours.
pub(super) struct Inbound {
    pub(super) case: Case,
    pub(super) port: u16,
    /// Of the port; undeclared.
    protocol: Option<String>,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: IpAddr,
    pub(super) tls: Option<Tls>,
    pub(super) bytes: Vec<u8>,
    /// Refused for this reason before any policy is asked: `check` is told of requests that do not get so far.
    sooner: Option<&'static str>,
}

impl Inbound {
    /// Or why it cannot be sent.
    pub(super) fn of(case: Case, subnet: Subnet) -> Result<Self, &'static str> {
        match &*case.question {
            "authorize" => Self::authorize(case, subnet),
            "accept" => Self::accept(case, subnet),
            _ => Err("another question"),
        }
    }

    fn accept(case: Case, subnet: Subnet) -> Result<Self, &'static str> {
        if case.objects.iter().any(|object| object["kind"] == "Service" || object["kind"] == "Sidecar") {
            return Err("here a Sidecar of the test's own declares the port");
        }
        let client = &case.asked["client"];
        let tls = client["tls"] == true;
        let bytes = match client["speaks"].as_str() {
            Some("nothing") => return Err("silence cannot be told from slowness"),
            Some("http/1.0") if !tls => "GET / HTTP/1.0\r\nHost: wire\r\n\r\n",
            Some("h2") if !tls => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            Some("other") | None if !tls => "\0other\r\n\r\n",
            _ => REQUEST,
        };
        let tls = tls.then(|| Tls {
            principal: (client["certificate"] != false).then(|| "cluster.local/ns/shop/sa/web".to_owned()),
            alpn: client["alpn"].as_array().into_iter().flatten().filter_map(text).collect(),
            server_name: None,
        });
        Ok(Self {
            port: port(&case.asked)?,
            protocol: text(&case.asked["protocol"]),
            source: None,
            destination: subnet.ip(OWN),
            tls,
            bytes: bytes.into(),
            sooner: None,
            case,
        })
    }

    fn authorize(case: Case, subnet: Subnet) -> Result<Self, &'static str> {
        let request = &case.asked["request"];
        cannot_be_said(&case, subnet).map_or(Ok(()), Err)?;
        let http = request["protocol"] != "TCP";
        let address = |key: &str| request[key].as_str().and_then(|ip| ip.parse().ok());
        let principal = text(&request["from"]);
        let domain = principal.as_deref().and_then(|principal| principal.split('/').next());
        let sooner = match domain {
            Some(domain) if !case.trust_domains().contains(&domain) => Some("trust-domain-mismatch"),
            _ if request["host"] == "" => Some("malformed-request"),
            _ if request["path"].as_str().is_some_and(|path| path.contains('#')) => Some("malformed-request"),
            _ => None,
        };
        Ok(Self {
            port: port(request)?,
            protocol: Some(if http { "HTTP" } else { "TCP" }.to_owned()),
            source: address("sourceIp"),
            destination: address("destinationIp").unwrap_or(subnet.ip(OWN)),
            tls: principal.is_some().then(|| Tls {
                principal,
                alpn: vec![if http { "istio-http/1.1" } else { "istio" }.to_owned()],
                server_name: text(&request["sni"]),
            }),
            bytes: if http { head(request) } else { "ping\r\n\r\n".to_owned() }.into_bytes(),
            sooner,
            case,
        })
    }

    /// What is counted together.
    pub(super) fn kind(&self) -> String {
        format!("{} {}", self.case.question, self.protocol.as_deref().unwrap_or("AUTO"))
    }

    pub(super) fn principal(&self) -> Option<&str> {
        self.tls.as_ref()?.principal.as_deref()
    }

    /// The case's own, and a listener for its port.
    pub(super) fn resources(&self, application: SocketAddr) -> String {
        let mut port = json!({"number": self.port, "name": "port"});
        if let Some(protocol) = &self.protocol {
            port["protocol"] = json!(protocol);
        }
        let listener = json!({
            "bind": self.destination, "port": port, "captureMode": "NONE", "defaultEndpoint": application,
        });
        self.case.resources(&json!({"ingress": [listener]}))
    }

    /// What `check` says and the wire does not.
    pub(super) fn disagreement(&self, wire: &Wire) -> Option<String> {
        let (check, told) = match &*self.case.question {
            "authorize" => (self.expected_verdict(), self.verdict(wire)),
            _ => (self.case.actual.clone(), self.handling(wire)),
        };
        let Case { name, origin, .. } = &self.case;
        (check != told)
            .then(|| format!("{name}: check says {check} ({origin}), the data path {told}: {wire:?}"))
    }

    fn expected_verdict(&self) -> Value {
        let check = &self.case.actual;
        let allowed = check["allowed"] == true;
        let reason = match check["action"].as_str() {
            _ if self.sooner.is_some() => self.sooner,
            _ if allowed => None,
            Some("DENY") => Some("denied-by-policy"),
            Some("CUSTOM") => Some("custom-unsupported"),
            _ => Some(&*self.case.origin),
        };
        let http = self.protocol.as_deref() == Some("HTTP");
        let reply = match reason {
            Some("trust-domain-mismatch") => "",
            Some(reason) if reason.starts_with("malformed") => "HTTP/1.1 400",
            None if http => "HTTP/1.1 200",
            Some(_) if http => "HTTP/1.1 403",
            None => "seen",
            Some(_) => "",
        };
        let by = if self.sooner.is_some() { Value::Null } else { check["by"].clone() };
        json!({"reason": reason, "by": by, "reply": reply})
    }

    fn handling(&self, wire: &Wire) -> Value {
        let taken = if self.tls.is_some() { "mtls" } else { "plaintext" };
        let (handling, protocol) = match &wire.seen {
            Some(seen) if is_hello(seen) => ("opaque", Some("TCP")),
            Some(seen) => (taken, Some(if is_request(seen) { "HTTP" } else { "TCP" })),
            // No request that anybody could forward, but it was taken for one.
            None if wire.reply.starts_with("HTTP/1.1 ") => (taken, Some("HTTP")),
            None => ("refuse", None),
        };
        let reason = if handling == "refuse" { wire.record["reason"].clone() } else { Value::Null };
        json!({"handling": handling, "protocol": protocol, "reason": reason})
    }

    fn verdict(&self, wire: &Wire) -> Value {
        let refused = wire.seen.is_none();
        let reason = if refused { wire.record["reason"].clone() } else { Value::Null };
        let label = |origin: &str| origin.split(' ').nth(1).map(str::to_owned);
        let by = match refused {
            false => wire.log["policy"].as_str().and_then(label),
            // No rule: the record names the policies that could have allowed it.
            true if reason == "not-allowed-by-policy" => self.unknown_policy(&wire.record),
            true => text(&wire.record["origin"]["label"]),
        };
        let reply: String = wire.reply.chars().take("HTTP/1.1 200".len()).collect();
        json!({"reason": reason, "by": by, "reply": reply})
    }

    /// What the record names and `check` does not, or nothing.
    fn unknown_policy(&self, record: &Value) -> Option<String> {
        let in_force = self.case.actual["inForce"]["allow"].as_array();
        let known = |label: &Value| in_force.is_some_and(|in_force| in_force.contains(label));
        let labels: Vec<&Value> =
            record["policies"].as_array()?.iter().map(|policy| &policy["label"]).collect();
        match labels.iter().find(|label| !known(label)) {
            Some(unknown) => text(unknown),
            None => labels.is_empty().then(|| "none".to_owned()),
        }
    }
}

/// Why a request that `check` answers cannot be made so that the resources find in it what the case says.
fn cannot_be_said(case: &Case, subnet: Subnet) -> Option<&'static str> {
    let request = &case.asked["request"];
    let resources = json!(case.objects).to_string();
    let tells = |key: &str| !request[key].is_null();
    let matters = |words: &[&str]| words.iter().any(|word| resources.contains(word));
    let network = subnet.ip(0).to_string();
    let foreign =
        |key: &str| request[key].as_str().is_some_and(|ip| !ip.starts_with(network.trim_end_matches('0')));
    let says = [
        (
            tells("claims") || matters(&["equestPrincipals", "request.auth"]),
            "tokens, which are not verified yet",
        ),
        (matters(&["\"Sidecar\"", "PeerAuthentication"]), "listeners or modes of its own"),
        (foreign("sourceIp") || foreign("destinationIp"), "addresses that are not ours"),
        (
            !tells("sourceIp") && matters(&["\"ipBlocks", "\"notIpBlocks", "source.ip"])
                || !tells("destinationIp") && matters(&["destination.ip"])
                || !tells("remoteIp") && !tells("sourceIp") && matters(&["emoteIpBlocks", "remote.ip"]),
            "addresses that are nobody's",
        ),
        ((tells("sni") || tells("remoteIp")) && !tells("from"), "what only a mesh peer can say"),
        (
            !tells("host") && matters(&["osts\"", "\"Service", "request.headers[host]", ":authority"]),
            "the host of its service",
        ),
    ];
    says.into_iter().find_map(|(says, what)| says.then_some(what))
}

fn head(request: &Value) -> String {
    let or = |key: &str, default: &str| text(&request[key]).unwrap_or_else(|| default.to_owned());
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: {}\r\n", or("method", "GET"), or("path", "/"), or("host", "wire"));
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        head += &format!("{name}: {}\r\n", value.as_str().unwrap_or_default());
    }
    if let Some(ip) = request["remoteIp"].as_str() {
        head += &format!("X-Forwarded-For: {ip}\r\n");
    }
    head + "Connection: close\r\n\r\n"
}

fn port(of: &Value) -> Result<u16, &'static str> {
    match of["port"].as_u64().and_then(|port| u16::try_from(port).ok()) {
        Some(15006) => Err("the capture port"),
        Some(port) if port >= 1024 => Ok(port),
        _ => Err("a port that only root may bind"),
    }
}
