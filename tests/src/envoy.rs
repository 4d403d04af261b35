//! Real Envoy as the sidecar of one side. Its configuration is what istiod pushes for such a workload, cut down to one
//! service: the same listener filters, filter chains, TLS contexts and clusters. What only Istio's own build of Envoy
//! has is left out (metadata exchange) or written out (the ALPN tokens that its filter puts in for HTTP).

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::lines::Lines;
use crate::{Connection, Files, PATIENCE, Subnet};

/// A running Envoy; killed when dropped.
pub struct EnvoyPeer {
    child: Child,
    admin: SocketAddr,
    printed: Lines,
}

/// What Envoy takes as the server's sidecar.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    /// STRICT; else PERMISSIVE.
    pub strict: bool,
    /// An AuthorizationPolicy that allows this principal and nobody else; else everybody is allowed.
    pub principal: Option<String>,
}

/// How Envoy as the client's sidecar dials the server: each on a port of its own, and [`Way::Mesh`] for TCP too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As in the mesh.
    Mesh,
    /// The same, and what the client says of its own callers' certificates is passed on, as by a gateway.
    Gateway,
    /// Mesh TLS, but with no certificate to show.
    NoCertificate,
    /// As to an endpoint without a sidecar.
    Plaintext,
}

impl Way {
    const HTTP: [Self; 4] = [Self::Mesh, Self::Gateway, Self::NoCertificate, Self::Plaintext];

    /// The port for the client's application.
    pub fn port(self) -> u16 {
        8080 + self as u16
    }
}

impl EnvoyPeer {
    /// Beside the client, at host 1 of the subnet. TCP has two ports: 9090, and 9091 whose sessions are never resumed.
    #[track_caller]
    pub fn client(directory: &Path, subnet: Subnet, files: &Files, host: &str) -> Self {
        let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
        for (name, port) in [("tcp", 9090), ("fresh", 9091)] {
            listeners.push(outbound_listener(name, subnet.address(1, port), tcp_proxy(name)));
            let tls = upstream_tls(files, Way::Mesh, &["istio-peer-exchange", "istio"], 9090, host);
            clusters.push(outbound_cluster(name, Way::Mesh, subnet.address(2, 19090), tls));
        }
        clusters[1].pointer_mut(UPSTREAM_TLS).expect("a mesh cluster has one")["max_session_keys"] = 0.into();
        for way in Way::HTTP {
            let name = format!("{way:?}").to_lowercase();
            let mut manager = connection_manager(&name, vec![router()]);
            if way == Way::Gateway {
                manager["typed_config"]["forward_client_cert_details"] = "ALWAYS_FORWARD_ONLY".into();
            }
            listeners.push(outbound_listener(&name, subnet.address(1, way.port()), manager));
            let tls = upstream_tls(files, way, &["istio-http/1.1", "istio", "http/1.1"], 8080, host);
            clusters.push(outbound_cluster(&name, way, subnet.address(2, 18080), tls));
        }
        Self::start(directory, subnet.address(1, 15000), &listeners, &clusters)
    }

    /// Beside the server, at host 2 of the subnet, in front of its applications for HTTP and TCP.
    #[track_caller]
    pub fn server(
        directory: &Path,
        subnet: Subnet,
        files: &Files,
        inbound: &Inbound,
        http: SocketAddr,
        tcp: SocketAddr,
    ) -> Self {
        let listeners = [
            inbound_listener("http", subnet.address(2, 18080), inbound.http_chains(files)),
            inbound_listener("tcp", subnet.address(2, 19090), inbound.tcp_chains(files)),
        ];
        let clusters = [cluster("http", http, json!({})), cluster("tcp", tcp, json!({}))];
        Self::start(directory, subnet.address(2, 15000), &listeners, &clusters)
    }

    /// A counter or gauge, 0 while nothing has touched it. Listeners are `listener.http` and so on.
    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let path = format!("/stats?filter=^{}$", name.replace('.', "\\."));
        let reply = Connection::to(self.admin).get("admin", &path);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let value = reply.text().trim().strip_prefix(name).map(|rest| rest.trim_start_matches(": "));
        value.map_or(0, |value| value.parse().expect("counters and gauges are whole numbers"))
    }

    /// Asks until a counter or gauge is at least that.
    #[track_caller]
    pub fn wait_stat(&self, name: &str, least: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.stat(name) < least {
            assert!(Instant::now() < deadline, "{name} stays below {least}");
        }
    }

    fn start(directory: &Path, admin: SocketAddr, listeners: &[Value], clusters: &[Value]) -> Self {
        let config = directory.join("envoy.json");
        let bootstrap = json!({
            "admin": {"address": address(admin)},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        });
        fs::write(&config, bootstrap.to_string()).expect("the test's directory takes files");
        let mut command = Command::new(executable());
        command.arg("--config-path").arg(&config);
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "info"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("Envoy starts");
        let printed = Lines::read(child.stderr.take().expect("stderr is piped"));
        let envoy = Self { child, admin, printed };
        envoy
            .printed
            .wait("that it starts its workers", |line| line.contains("starting workers").then_some(()));
        envoy.wait_stat("listener_manager.workers_started", 1);
        let ready = Connection::to(admin).get("admin", "/ready");
        assert_eq!((ready.status, ready.text()), (200, "LIVE\n"));
        envoy
    }
}

impl Drop for EnvoyPeer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            // At level info it lists everything that is compiled in.
            let text = self.printed.text();
            let said: Vec<_> = text.lines().filter(|line| !line.contains("[info]")).collect();
            eprintln!("--- Envoy said:\n{}", said.join("\n"));
        }
    }
}

impl Inbound {
    fn http_chains(&self, files: &Files) -> Vec<Value> {
        let filters = json!([self.connection_manager()]);
        let tls = downstream_tls(files, &["h2", "http/1.1"]);
        match self.strict {
            true => vec![json!({
                "filter_chain_match": {"transport_protocol": "tls"}, "filters": filters, "transport_socket": tls,
            })],
            false => vec![
                json!({"filter_chain_match": mesh_tls(), "filters": filters, "transport_socket": tls}),
                json!({"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters}),
            ],
        }
    }

    fn tcp_chains(&self, files: &Files) -> Vec<Value> {
        let mut filters = self.rbac("network", "network.rbac").into_iter().collect::<Vec<_>>();
        filters.push(tcp_proxy("tcp"));
        let tls = downstream_tls(files, &["istio-peer-exchange", "h2", "http/1.1"]);
        match self.strict {
            true => vec![json!({
                "filter_chain_match": {"transport_protocol": "tls"}, "filters": filters, "transport_socket": tls,
            })],
            false => vec![
                json!({"filter_chain_match": mesh_tls(), "filters": filters, "transport_socket": tls}),
                json!({"filter_chain_match": {"transport_protocol": "tls"}, "filters": filters}),
                json!({"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters}),
            ],
        }
    }

    fn connection_manager(&self) -> Value {
        let mut filters = self.rbac("http", "http.rbac").into_iter().collect::<Vec<_>>();
        filters.push(router());
        let mut manager = connection_manager("http", filters);
        let config = &mut manager["typed_config"];
        config["server_name"] = "istio-envoy".into();
        config["forward_client_cert_details"] = "APPEND_FORWARD".into();
        config["set_current_client_cert_details"] = json!({"subject": true, "dns": true, "uri": true});
        // Not istiod's: it lets the application tell the test what our client's hello said.
        config["route_config"]["request_headers_to_add"] =
            json!([{"header": {"key": "x-sni", "value": "%REQUESTED_SERVER_NAME%"}}]);
        manager
    }

    fn rbac(&self, layer: &str, package: &str) -> Option<Value> {
        let principal = format!("spiffe://{}", self.principal.as_ref()?);
        let policy = json!({
            "permissions": [{"and_rules": {"rules": [{"any": true}]}}],
            "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": [
                {"authenticated": {"principal_name": {"exact": principal}}},
            ]}}]}}],
        });
        let mut config = json!({"rules": {"policies": {"ns[default]-policy[one]-rule[0]": policy}}});
        if layer == "network" {
            config["stat_prefix"] = "tcp.".into();
        }
        Some(extension(&format!("filters.{layer}.rbac"), &format!("filters.{package}.v3.RBAC"), config))
    }
}

/// `SIDERING_ENVOY` if set, else where `.ci/prerequisites test` puts it.
fn executable() -> PathBuf {
    let cache = || {
        let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        cache.unwrap_or_default().join("sidering/envoy-1.40.0/envoy/_bin/envoy")
    };
    let path = env::var_os("SIDERING_ENVOY").map_or_else(cache, PathBuf::from);
    assert!(path.exists(), "the tests need {}: run .ci/prerequisites test", path.display());
    path
}

fn inbound_listener(name: &str, at: SocketAddr, chains: Vec<Value>) -> Value {
    let inspector = "filters.listener.tls_inspector";
    let inspector = extension(inspector, &format!("{inspector}.v3.TlsInspector"), json!({}));
    json!({
        "name": name, "stat_prefix": name, "address": address(at), "traffic_direction": "INBOUND",
        "listener_filters": [inspector],
        "listener_filters_timeout": "0s", "continue_on_listener_filters_timeout": true,
        "filter_chains": chains,
    })
}

fn outbound_listener(name: &str, at: SocketAddr, filter: Value) -> Value {
    json!({
        "name": name, "stat_prefix": name, "address": address(at), "traffic_direction": "OUTBOUND",
        "filter_chains": [{"filters": [filter]}],
    })
}

/// Where [`outbound_cluster`] has what [`upstream_tls`] gives.
const UPSTREAM_TLS: &str = "/transport_socket_matches/0/transport_socket/typed_config";

/// An outbound cluster with auto mTLS.
fn outbound_cluster(name: &str, way: Way, server: SocketAddr, tls: Value) -> Value {
    let raw =
        extension("transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    let metadata = match way {
        Way::Plaintext => json!({}),
        _ => json!({"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}),
    };
    let mut cluster = cluster(name, server, metadata);
    cluster["transport_socket_matches"] = json!([
        {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": tls},
        {"name": "tlsMode-disabled", "match": {}, "transport_socket": raw},
    ]);
    cluster
}

fn upstream_tls(files: &Files, way: Way, alpn: &[&str], port: u16, host: &str) -> Value {
    let san = json!({"exact": "spiffe://cluster.local/ns/default/sa/server"});
    let config = json!({
        "common_tls_context": tls_context(files, way != Way::NoCertificate, alpn, &san),
        "sni": format!("outbound_.{port}_._.{host}"),
    });
    extension("transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", config)
}

fn cluster(name: &str, to: SocketAddr, metadata: Value) -> Value {
    let endpoint = json!({"endpoint": {"address": address(to)}, "metadata": metadata});
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "10s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    })
}

/// Routes everything to the cluster of that name.
fn connection_manager(name: &str, http_filters: Vec<Value>) -> Value {
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}});
    let config = json!({
        "stat_prefix": name, "use_remote_address": false, "normalize_path": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED", "stream_idle_timeout": "0s", "proxy_100_continue": true,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": http_filters,
    });
    let kind = "filters.network.http_connection_manager.v3.HttpConnectionManager";
    extension("filters.network.http_connection_manager", kind, config)
}

fn router() -> Value {
    extension("filters.http.router", "filters.http.router.v3.Router", json!({}))
}

fn tcp_proxy(cluster: &str) -> Value {
    let config = json!({"stat_prefix": cluster, "cluster": cluster});
    extension("filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", config)
}

/// What PERMISSIVE takes for mesh TLS.
fn mesh_tls() -> Value {
    json!({
        "transport_protocol": "tls",
        "application_protocols": ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"],
    })
}

fn downstream_tls(files: &Files, alpn: &[&str]) -> Value {
    let san = json!({"prefix": "spiffe://cluster.local/"});
    let config = json!({
        "common_tls_context": tls_context(files, true, alpn, &san), "require_client_certificate": true,
    });
    extension("transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", config)
}

fn tls_context(files: &Files, certificate: bool, alpn: &[&str], san: &Value) -> Value {
    let mut context = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": alpn,
        "validation_context": {
            "trusted_ca": {"filename": files.bundle},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": san}],
        },
    });
    if certificate {
        context["tls_certificates"] = json!([{
            "certificate_chain": {"filename": files.certificate}, "private_key": {"filename": files.key},
        }]);
    }
    context
}

fn extension(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
    json!({"name": format!("envoy.{name}"), "typed_config": config})
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}
