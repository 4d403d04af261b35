//! `dial` on the wire: which endpoint is dialled, how TLS begins, what the client presents and whom it believes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sidering_tests::{Connection, Leaf, Pki, Run, Subnet, TlsOrigin};

use super::client::send;
use super::table::{Case, text};
use super::tap::{Behind, Tap};
use super::world::{OWN, World};

/// Requests in which each endpoint should be dialled once.
const TRIES: usize = 40;
/// Host number of the servers behind the endpoints.
const OPENSSL: u8 = 201;

/// Whether the client and the endpoints of that case can be ours.
pub(super) fn can_be_sent(case: &Case, subnet: Subnet) -> bool {
    let ours =
        |address: &SocketAddr| address.port() >= 1024 && (0..OWN).any(|host| address.ip() == subnet.ip(host));
    let addresses = addresses(case);
    case.question == "dial"
        && case.asked["port"].as_u64() >= Some(1024)
        // A route would have to lead there.
        && case.asked["subset"].is_null()
        && !json!(case.objects).to_string().contains("\"Sidecar\"")
        && !addresses.is_empty()
        && addresses.iter().all(ours)
}

/// A client's sidecar, and whatever it may dial.
pub(super) struct Dialler<'p> {
    world: World,
    pki: &'p Pki,
    subnet: Subnet,
    taps: HashMap<SocketAddr, Tap>,
    behind: Arc<Behind>,
}

impl<'p> Dialler<'p> {
    pub(super) fn start(run: Run, directory: &Path, subnet: Subnet, pki: &'p Pki, cases: &[Case]) -> Self {
        // Whom a rule's files name.
        pki.issue("caller", &Leaf::host("caller.example"));
        let resources = cases.iter().map(|case| {
            let protocol = if is_http(case) { "HTTP" } else { "TCP" };
            let port = json!({"number": case.asked["port"], "protocol": protocol, "name": "port"});
            let listener =
                json!({"bind": subnet.ip(OWN), "port": port, "captureMode": "NONE", "hosts": ["*/*"]});
            case.resources(&json!({"egress": [listener]}))
        });
        let world = World::start(run, directory, subnet, pki, &cases[0], resources);
        Self { world, pki, subnet, taps: HashMap::new(), behind: Arc::default() }
    }

    /// What `check` says and the data path does not do.
    pub(super) fn disagreement(&mut self, number: usize, case: &Case) -> Option<String> {
        for endpoint in addresses(case) {
            self.taps.entry(endpoint).or_insert_with(|| Tap::at(endpoint, self.behind.clone()));
        }
        self.taps.values().for_each(Tap::forget);
        let version = self.world.turn_to(number);
        let believed = Believed::of(case);
        let mut wrong = self.begins_otherwise(case, &believed);
        // With several endpoints it could not be told whom a request reaches.
        if let [only] = addresses(case)[..]
            && self.taps[&only].began().is_some_and(|began| !began.is_null())
        {
            wrong.extend(self.believes_otherwise(case, &believed));
            let record = self.world.records(version).next().unwrap_or_default();
            let names = record["expected"].as_array().into_iter().flatten();
            let names: Vec<&Value> = names.map(|expected| &expected["name"]).collect();
            if case.actual["sans"] != json!([]) && case.actual["sans"] != json!(names) {
                wrong.push(format!("{names:?} were expected"));
            }
        }
        let Case { name, actual, origin, .. } = case;
        (!wrong.is_empty())
            .then(|| format!("{name}: check says {actual} ({origin}), but {}", wrong.join("; ")))
    }

    /// Every endpoint is dialled, in plaintext or by TLS that asks for that.
    fn begins_otherwise(&self, case: &Case, believed: &Believed) -> Vec<String> {
        let server = TlsOrigin::start(self.subnet.ip(OPENSSL), &self.pki.issue("right", &believed.right[0]));
        let endpoints = addresses(case);
        let began = |endpoint| self.taps[endpoint].began();
        for _ in 0..TRIES {
            self.ask(case, &server);
            if endpoints.iter().all(|endpoint| began(endpoint).is_some()) {
                break;
            }
        }
        let expected = case.actual["endpoints"].as_array().into_iter().flatten().map(|e| begins(case, e));
        let differs = endpoints
            .iter()
            .zip(expected)
            .filter(|(endpoint, expected)| began(endpoint).as_ref() != Some(expected));
        differs
            .map(|(endpoint, _)| format!("a connection to {endpoint} began with {:?}", began(endpoint)))
            .collect()
    }

    /// Who is believed is told by who gets the request, and the mode by what is presented to who asks for it.
    fn believes_otherwise(&self, case: &Case, believed: &Believed) -> Vec<String> {
        let mut wrong = Vec::new();
        let issue = |leaf| self.pki.issue("server", leaf);
        for right in &believed.right {
            if !is_page(&self.ask(case, &TlsOrigin::start(self.subnet.ip(OPENSSL), &issue(right)))) {
                wrong.push(format!("{right:?} was not believed"));
            }
        }
        let page = self.ask(case, &TlsOrigin::mutual(self.subnet.ip(OPENSSL), &issue(&believed.right[0])));
        let mode = match is_page(&page) {
            false => "SIMPLE",
            true if page.contains("caller") => "MUTUAL",
            true => "ISTIO_MUTUAL",
        };
        if case.actual["tls"] != mode {
            wrong.push(format!("it was {mode}"));
        }
        if is_page(&self.ask(case, &TlsOrigin::start(self.subnet.ip(OPENSSL), &issue(&believed.wrong)))) {
            wrong.push(format!("{:?} was believed", believed.wrong));
        }
        wrong
    }

    /// What comes back when that server is behind the endpoints.
    fn ask(&self, case: &Case, server: &TlsOrigin) -> String {
        self.behind.put(server.address());
        let listener = (self.subnet.ip(OWN), case.asked["port"].as_u64().unwrap_or_default() as u16).into();
        if !is_http(case) {
            return send(self.subnet.ip(OWN), listener, b"GET / HTTP/1.0\r\n\r\n");
        }
        let host = text(&case.asked["hostHeader"]).or(text(&case.asked["host"])).unwrap_or_default();
        Connection::to(listener).get(&host, "/").text().to_owned()
    }
}

/// Servers' certificates.
struct Believed {
    /// One for each name that is expected.
    right: Vec<Leaf>,
    wrong: Leaf,
}

impl Believed {
    fn of(case: &Case) -> Self {
        let leaf = |name: &str| match name.starts_with("spiffe://") {
            true => Leaf::nameless().uri(name),
            false => Leaf::host(name),
        };
        let anybody = "spiffe://cluster.local/ns/any/sa/body";
        let mesh = case.actual["tls"] == "ISTIO_MUTUAL";
        let sans = case.actual["sans"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut right: Vec<Leaf> = sans.map(leaf).collect();
        let wrong = leaf(if mesh && !right.is_empty() { anybody } else { "other.example" });
        // Nobody by name: in the mesh any identity of ours, elsewhere the server name.
        if right.is_empty() {
            right.push(leaf(if mesh {
                anybody
            } else {
                case.actual["sni"].as_str().unwrap_or("ledger.example")
            }));
        }
        Self { right, wrong }
    }
}

/// Of the endpoints.
fn addresses(case: &Case) -> Vec<SocketAddr> {
    let endpoints = case.actual["endpoints"].as_array().into_iter().flatten();
    endpoints.filter_map(|endpoint| endpoint["address"].as_str()?.parse().ok()).collect()
}

fn is_http(case: &Case) -> bool {
    !case.asked["http"].is_null()
}

fn is_page(reply: &str) -> bool {
    reply.contains("s_server")
}

/// How a connection to that endpoint has to begin: as [`Tap::began`] tells it.
fn begins(case: &Case, endpoint: &Value) -> Value {
    let mesh = case.actual["tls"] == "ISTIO_MUTUAL";
    match case.actual["tls"] == "DISABLE" || (mesh && endpoint["mtls"] != true) {
        true => Value::Null,
        false => json!({"sni": case.actual["sni"], "alpn": case.actual["alpn"]}),
    }
}
