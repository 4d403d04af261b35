//! Hand-made Snapshots and certificates: what a compiler and a certificate authority would bring. `publish` and
//! `publish_credentials` are the whole test hook.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use serde_json::{Value, json};
use sidering_http::Limits;
use sidering_identity::{
    Bundle, CertificateChain, Credentials, ExpectedSan, ExpectedSans, SpiffeId, TrustDomain,
};
use sidering_net::{DriverChoice, probe};
use sidering_policy::{
    Address, Authorization, BalancerKind, BindAddress, Chain, ChainMatch, ClientCertificate, Cluster,
    Direction, Discovery, DownstreamTls, Endpoint, Filter, HeaderEdits, Listener, Map, Matcher, Origin,
    Position, Route, RouteAction, RouteTable, Rule, RuleSet, Snapshot, Sni, TlsVersion, Transport, Trust,
    UnknownHost, UpstreamAlpn, UpstreamTls, VirtualHost, WeightedCluster,
};
use sidering_proxy::{Metrics, Options, Proxy, Record};
use sidering_tls::Backend;

/// Longer than anything here takes; it only ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const CLIENT: &str = "spiffe://cluster.local/ns/shop/sa/orders";
pub(crate) const SERVER: &str = "spiffe://cluster.local/ns/shop/sa/payments";

/// The authority of all tests.
static CA: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(authority);

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A fresh certificate of that name.
pub(crate) fn credentials(id: &str, version: u64) -> Credentials {
    credentials_from(&CA, id, version)
}

pub(crate) fn credentials_from(
    ca: &CertifiedIssuer<'static, KeyPair>,
    id: &str,
    version: u64,
) -> Credentials {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, ca).unwrap();
    let chain = CertificateChain {
        certificates: vec![leaf.der().to_vec()],
        key: Arc::new(key.serialize_der().into()),
    };
    Credentials {
        version,
        chain: Arc::new(chain),
        bundle: Arc::new(Bundle { roots: vec![ca.der().to_vec()] }),
        source: "test".into(),
    }
}

pub(crate) fn origin(kind: &str, name: &str, line: u32) -> Origin {
    let position = Some(Position { file: "mesh.yaml".into(), line, column: 1 });
    Origin { kind: kind.into(), name: name.into(), rule: None, position }
}

/// One driver's data path, ended when dropped.
pub(crate) struct Running(pub(crate) Proxy);

impl Running {
    pub(crate) fn start(driver: DriverChoice) -> Self {
        Self::limited(driver, Limits::default())
    }

    /// `driver` must be there: one that is missing fails the test.
    pub(crate) fn limited(driver: DriverChoice, limits: Limits) -> Self {
        let driver = probe(driver).expect("both drivers run where the tests run").driver;
        let options = Options { limits, ..Options::new(driver, Backend::Rustls) };
        Self(Proxy::start(options).expect("a worker can be started"))
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.0.publish(snapshot).expect("the snapshot is taken");
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let status = self.0.status();
        let found =
            status.listeners.iter().find(|known| known.name == listener).expect("the listener is bound");
        found.address.parse().expect("it is a TCP address")
    }

    /// The first record, once there is one.
    pub(crate) fn record(&self) -> Record {
        self.until(|proxy| proxy.records().into_iter().next())
    }

    /// Asserts that the first record is for that reason and says exactly the rest.
    pub(crate) fn on_record(&self, reason: &str, mut rest: Value) {
        rest["reason"] = reason.into();
        let mut told = serde_json::to_value(self.record()).unwrap();
        assert!(told["listener"].as_str().is_some_and(|name| !name.is_empty()), "{told:#}");
        let always = ["id", "time", "snapshot", "listener", "sniffed"];
        told.as_object_mut().unwrap().retain(|part, value| {
            !always.contains(&&**part) && !value.is_null() && *value != Value::Array(Vec::new())
        });
        assert_eq!(told, rest, "{told:#}");
    }

    /// The metrics, once they are as wanted: a client has its response before the worker has counted it.
    pub(crate) fn metrics(&self, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
        self.until(|proxy| Some(proxy.metrics()).filter(&wanted))
    }

    fn until<T>(&self, found: impl Fn(&Proxy) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(&self.0) {
                return found;
            }
            assert!(Instant::now() < until, "never came: {:?} {:?}", self.0.records(), self.0.metrics());
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.drain(Duration::ZERO);
        self.0.clone().join().expect("no worker panicked");
    }
}

/// Which connections an inbound port takes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Strict,
    Permissive,
}

/// What an inbound or outbound port speaks.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Speaks {
    Http,
    Tcp,
}

/// A server's Snapshot: port 0 of loopback as `inbound`, everything to `application`.
pub(crate) fn inbound(mode: Mode, speaks: Speaks, rules: Authorization, application: SocketAddr) -> Snapshot {
    let tls_only = ChainMatch { transport: Some(Transport::Tls), ..ChainMatch::default() };
    let raw_only = ChainMatch { transport: Some(Transport::Raw), ..ChainMatch::default() };
    let downstream = DownstreamTls { alpn: vec!["http/1.1".into()], ..DownstreamTls::default() };
    let (rules, filter) = (Arc::new(rules), |_| filter(speaks, "inbound|8080||", "any"));
    let decided = origin("PeerAuthentication", "shop/default", 7);
    let chain = |name: &str, matches, tls| {
        let (authorization, origin) = (rules.clone(), decided.clone());
        Arc::new(Chain { name: name.into(), matches, tls, filter: filter(()), authorization, origin })
    };
    let mut chains = vec![chain("mtls", tls_only, Some(Arc::new(downstream)))];
    if mode == Mode::Permissive {
        chains.push(chain("plaintext", raw_only, None));
    }
    let cluster = cluster("inbound|8080||", vec![endpoint(application, None)]);
    snapshot(Direction::Inbound, "inbound", chains, vec![cluster])
}

/// A client's Snapshot: port 0 of loopback as `outbound`, everything to `servers` by mesh mTLS, whose names must be
/// among `expected`.
pub(crate) fn outbound(speaks: Speaks, servers: &[SocketAddr], expected: &str) -> Snapshot {
    let sans = vec![ExpectedSan { name: expected.into(), from: "endpoint (mesh.yaml:12:3)".into() }];
    let tls = Arc::new(UpstreamTls {
        certificate: ClientCertificate::Workload,
        trust: Trust::Mesh,
        sni: Sni::Fixed("outbound_.8080_._.payments.shop.svc.cluster.local".into()),
        sans: Arc::new(ExpectedSans(sans)),
        alpn: UpstreamAlpn::Mesh,
        min_version: TlsVersion::Tls12,
        cipher_suites: Vec::new(),
        origin: origin("DestinationRule", "shop/payments", 21),
    });
    let endpoints = servers.iter().map(|server| endpoint(*server, Some(tls.clone()))).collect();
    let chain = Arc::new(Chain {
        name: "outbound".into(),
        matches: ChainMatch::default(),
        tls: None,
        filter: filter(speaks, "outbound|8080||payments", "payments"),
        authorization: Arc::default(),
        origin: origin("ServiceEntry", "shop/payments", 2),
    });
    let cluster = cluster("outbound|8080||payments", endpoints);
    snapshot(Direction::Outbound, "outbound", vec![chain], vec![cluster])
}

fn snapshot(direction: Direction, name: &str, chains: Vec<Arc<Chain>>, clusters: Vec<Cluster>) -> Snapshot {
    let listener = Listener {
        name: name.into(),
        bind: BindAddress::Tcp("127.0.0.1:0".parse().unwrap()),
        direction,
        captures: false,
        chains: chains.into(),
        detection_timeout: None,
        origin: origin("Sidecar", "shop/default", 1),
    };
    Snapshot {
        listeners: vec![Arc::new(listener)],
        clusters: clusters.into_iter().map(|cluster| (cluster.name.clone(), Arc::new(cluster))).collect(),
        identity: Some(SpiffeId::parse(SERVER).unwrap()),
        trust_domains: [TrustDomain::parse("cluster.local").unwrap()].into(),
        ..Snapshot::default()
    }
}

fn filter(speaks: Speaks, cluster: &str, host: &str) -> Filter {
    let clusters = vec![WeightedCluster { cluster: cluster.into(), weight: 1 }];
    if speaks == Speaks::Tcp {
        return Filter::Tcp(clusters.into());
    }
    let route = Route {
        name: "default".into(),
        matches: Vec::new(),
        action: RouteAction::Forward { clusters, host: None },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeout: None,
        origin: origin("VirtualService", "shop/payments", 30),
    };
    let virtual_host = Arc::new(VirtualHost {
        name: host.into(),
        routes: vec![route],
        origin: origin("ServiceEntry", "shop/payments", 2),
    });
    let any = (host == "any").then(|| virtual_host.clone());
    Filter::Http(Arc::new(RouteTable {
        name: cluster.into(),
        exact: Map::from_iter([(host.into(), virtual_host)]),
        suffixes: Vec::new(),
        any,
        unknown: UnknownHost::NotFound,
        origin: origin("ServiceEntry", "shop/payments", 2),
    }))
}

fn cluster(name: &str, endpoints: Vec<Arc<Endpoint>>) -> Cluster {
    Cluster {
        name: name.into(),
        discovery: Discovery::Static(endpoints),
        balancer: BalancerKind::RoundRobin,
        connect_timeout: PATIENCE,
        idle_timeout: Some(PATIENCE),
        tcp_idle_timeout: Some(PATIENCE),
        max_connections: None,
        max_requests_per_connection: None,
        origin: origin("ServiceEntry", "shop/payments", 2),
    }
}

fn endpoint(address: SocketAddr, tls: Option<Arc<UpstreamTls>>) -> Arc<Endpoint> {
    let origin = origin("ServiceEntry", "shop/payments", 12);
    Arc::new(Endpoint { address: Address::Tcp(address), weight: 1, tls, origin })
}

/// A policy that denies whatever matches.
pub(crate) fn deny(matcher: Matcher) -> Authorization {
    let clause = sidering_policy::Clause { negated: false, any: vec![matcher] };
    let origin = origin("AuthorizationPolicy", "shop/no-entry", 40).with_rule(0, None);
    let rule = Rule {
        sources: Vec::new(),
        operations: vec![vec![clause]],
        when: Vec::new(),
        origin: Arc::new(origin),
    };
    Authorization::new(RuleSet { deny: vec![rule], ..RuleSet::default() }, RuleSet::default())
}

/// An HTTP/1.1 application that answers each request with its own head, and counts its connections. What it does with
/// a connection after its first answer is up to `keeps`.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Application {
    pub(crate) fn start(keeps: bool) -> Self {
        Self::with(move |stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while let Some(head) = read_head(&mut reader)? {
                write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())?;
                if !keeps {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    /// Sends back whatever comes.
    pub(crate) fn echo() -> Self {
        Self::with(|mut stream| std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop))
    }

    pub(crate) fn with(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (connections.clone(), Arc::new(serve));
        // It ends with the process; every test has its own.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(crate) fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.ends_with("\r\n\r\n") {
            return Ok(Some(head));
        }
    }
}

/// A client's connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    own: SocketAddr,
    peer: SocketAddr,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the listener takes connections");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (own, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        Self { reader: BufReader::new(stream), own, peer }
    }

    /// What is on record of it, and `rest`.
    pub(crate) fn record(&self, direction: &str, phase: &str, rest: Value) -> Value {
        let (peer, destination) = (self.own, self.peer);
        let mut record =
            json!({"direction": direction, "phase": phase, "peer": peer, "destination": destination});
        record.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        record
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.reader.get_mut().write_all(bytes.as_bytes()).expect("the sidecar reads");
    }

    /// One request; its response's status and body.
    pub(crate) fn get(&mut self, path: &str, host: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response()
    }

    pub(crate) fn response(&mut self) -> (u16, String) {
        let head = read_head(&mut self.reader).unwrap().expect("a response comes");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.reader.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// Waits for the end; what came before it. A reset is an end, too.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it stays open"),
            _ => String::from_utf8(rest).unwrap(),
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn half_close(&self) {
        self.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }
}
