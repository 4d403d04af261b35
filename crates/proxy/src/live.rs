//! What is in force: a Snapshot with the TLS configurations that it and the credentials call for. Built whole off the
//! data path, once per publish, and shared by all cores; what did not change is taken over from the one before, so
//! that sessions, ticket keys and pooled connections survive.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sidering_identity::{Bundle, CertificateChain, Credentials, ExpectedSans};
use sidering_policy::{
    BindAddress, Chain, ClientCertificate, Cluster, Discovery, DownstreamTls, Inside, Listener, Snapshot,
    TlsVersion, Trust, UpstreamTls,
};
use sidering_tls::{
    Backend, ClientConfig, ClientParameters, ClientTrust, ConfigFailure, ServerConfig, ServerParameters,
    TicketKeys,
};

/// What every core reads. Immutable.
pub(crate) struct Live {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) credentials: Option<Credentials>,
    listeners: HashMap<SocketKey, Arc<Listener>>,
    servers: HashMap<Arc<DownstreamTls>, ServerConfig>,
    clients: HashMap<Arc<str>, Vec<Client>>,
    capture_ports: HashSet<u16>,
    /// Of every client configuration in force.
    versions: HashSet<u64>,
    /// Bound to the bundle and the trust domains: a session that was verified under others is never resumed.
    tickets: TicketKeys,
    /// Of the newest client configuration; see [`Client::version`].
    newest: u64,
    /// How many times a root that peers may have been verified with was taken away. Which one verified a peer is not
    /// known, so with any of them every mesh peer verified before counts as not verified.
    pub(crate) roots_lost: u64,
}

/// Which socket belongs to which listener: the address, and the name too where the kernel chooses the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey {
    pub(crate) bind: BindAddress,
    name: Option<Arc<str>>,
}

/// How TLS is spoken to some endpoints of a cluster.
pub(crate) struct Client {
    parameters: Arc<UpstreamTls>,
    protocol: Protocol,
    pub(crate) config: ClientConfig,
    /// Names the parameters, the credentials and the trust domains at once: pooled connections are keyed by it, so a
    /// connection made under others is never reused.
    pub(crate) version: u64,
}

/// What is spoken inside an upstream's TLS; Istio offers other ALPN tokens for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Http,
    Tcp,
}

/// A configuration that the TLS library does not take, and whose it is.
pub(crate) struct Unusable {
    pub(crate) of: String,
    pub(crate) failure: ConfigFailure,
}

impl Live {
    /// Nothing in force yet.
    pub(crate) fn empty() -> Self {
        Self {
            snapshot: Arc::default(),
            credentials: None,
            listeners: HashMap::new(),
            servers: HashMap::new(),
            clients: HashMap::new(),
            capture_ports: HashSet::new(),
            versions: HashSet::new(),
            tickets: TicketKeys::new(),
            newest: 0,
            roots_lost: 0,
        }
    }

    /// Builds what follows `before`.
    pub(crate) fn build(
        before: &Self,
        snapshot: Arc<Snapshot>,
        credentials: Option<Credentials>,
        backend: Backend,
    ) -> Result<Self, Unusable> {
        let listeners = snapshot.listeners.iter().map(|l| (SocketKey::of(l), l.clone())).collect();
        let mut live = Self {
            tickets: if before.same_context(&snapshot, credentials.as_ref()) {
                before.tickets.clone()
            } else {
                TicketKeys::new()
            },
            capture_ports: capture_ports(&snapshot),
            versions: HashSet::new(),
            snapshot,
            credentials,
            listeners,
            servers: HashMap::new(),
            clients: HashMap::new(),
            newest: before.newest,
            roots_lost: before.roots_lost,
        };
        live.roots_lost += u64::from(!before.roots().is_subset(&live.roots()));
        live.build_servers(backend)?;
        live.build_clients(before, backend)?;
        Ok(live)
    }

    /// The listener behind a socket.
    pub(crate) fn listener(&self, socket: &SocketKey) -> Option<&Arc<Listener>> {
        self.listeners.get(socket)
    }

    /// Is this where captured traffic is taken from?
    pub(crate) fn is_capture_port(&self, port: u16) -> bool {
        self.capture_ports.contains(&port)
    }

    /// May a connection that was made under this [`Client::version`] (0: plaintext) carry another exchange?
    pub(crate) fn is_current(&self, version: u64) -> bool {
        version == 0 || self.versions.contains(&version)
    }

    /// Everything that must be bound.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (&SocketKey, &Arc<Listener>)> {
        self.listeners.iter()
    }

    /// The configuration of a chain that terminates TLS; absent without credentials.
    pub(crate) fn server(&self, parameters: &DownstreamTls) -> Option<&ServerConfig> {
        self.servers.get(parameters)
    }

    /// How to speak TLS to an endpoint of `cluster`; absent when it needs credentials and there are none, or when the
    /// cluster is not this Snapshot's.
    pub(crate) fn client(&self, cluster: &str, tls: &UpstreamTls, protocol: Protocol) -> Option<&Client> {
        let same = |client: &&Client| {
            client.protocol == protocol
                && (std::ptr::eq(&*client.parameters, tls) || *client.parameters == *tls)
        };
        self.clients.get(cluster)?.iter().find(same)
    }

    fn roots(&self) -> BTreeSet<&[u8]> {
        self.credentials
            .iter()
            .flat_map(|credentials| &credentials.bundle.roots)
            .map(|der| &der[..])
            .collect()
    }

    /// Would a peer be verified and believed just as before?
    fn same_context(&self, snapshot: &Snapshot, credentials: Option<&Credentials>) -> bool {
        let bundle = |c: Option<&Credentials>| c.map(|c| c.bundle.clone());
        self.snapshot.trust_domains == snapshot.trust_domains
            && bundle(self.credentials.as_ref()) == bundle(credentials)
    }

    fn build_servers(&mut self, backend: Backend) -> Result<(), Unusable> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        for chain in self.snapshot.listeners.iter().flat_map(|listener| &listener.chains) {
            let Some(tls) = &chain.tls else { continue };
            if !self.servers.contains_key(tls) {
                let config = server(backend, credentials, tls, &self.tickets)
                    .map_err(|failure| Unusable { of: described(chain), failure })?;
                self.servers.insert(tls.clone(), config);
            }
        }
        Ok(())
    }

    fn build_clients(&mut self, before: &Self, backend: Backend) -> Result<(), Unusable> {
        let version = |c: &Option<Credentials>| c.as_ref().map(|c| c.version);
        let comparable = version(&self.credentials) == version(&before.credentials)
            && self.snapshot.trust_domains == before.snapshot.trust_domains;
        let snapshot = self.snapshot.clone();
        for cluster in snapshot.clusters.values() {
            for tls in distinct_tls(cluster) {
                for protocol in [Protocol::Http, Protocol::Tcp] {
                    let kept = before.client(&cluster.name, tls, protocol).filter(|_| comparable);
                    let client = match kept {
                        Some(kept) => Client {
                            parameters: tls.clone(),
                            protocol,
                            config: kept.config.clone(),
                            version: kept.version,
                        },
                        None => {
                            let built = client(backend, self.credentials.as_ref(), tls, protocol);
                            let Some(config) = built.transpose().map_err(|failure| Unusable {
                                of: format!("cluster {} ({})", cluster.name, tls.origin),
                                failure,
                            })?
                            else {
                                continue;
                            };
                            self.newest += 1;
                            Client { parameters: tls.clone(), protocol, config, version: self.newest }
                        }
                    };
                    self.versions.insert(client.version);
                    self.clients.entry(cluster.name.clone()).or_default().push(client);
                }
            }
        }
        Ok(())
    }
}

impl SocketKey {
    pub(crate) fn of(listener: &Listener) -> Self {
        let kernel_chooses = matches!(&listener.bind, BindAddress::Tcp(address) if address.port() == 0);
        Self { bind: listener.bind.clone(), name: kernel_chooses.then(|| listener.name.clone()) }
    }
}

/// Whether a chain and a key fit each other and the bundle can be used: asked of credentials before anything is
/// changed, whatever the Snapshot needs of them.
pub(crate) fn check(backend: Backend, credentials: &Credentials) -> Result<(), ConfigFailure> {
    server(backend, credentials, &DownstreamTls::default(), &TicketKeys::new()).map(drop)
}

fn server(
    backend: Backend,
    credentials: &Credentials,
    tls: &DownstreamTls,
    tickets: &TicketKeys,
) -> Result<ServerConfig, ConfigFailure> {
    backend.server_config(&ServerParameters {
        chain: &credentials.chain,
        clients: &credentials.bundle,
        alpn: &tls.alpn,
        min_version: version(tls.min_version),
        cipher_suites: &tls.cipher_suites,
        tickets,
    })
}

/// `None`: it needs credentials, and there are none.
fn client(
    backend: Backend,
    credentials: Option<&Credentials>,
    tls: &UpstreamTls,
    protocol: Protocol,
) -> Option<Result<ClientConfig, ConfigFailure>> {
    let names = names(&tls.sans);
    let certificate: Option<&CertificateChain> = match &tls.certificate {
        ClientCertificate::None => None,
        ClientCertificate::Workload => Some(&credentials?.chain),
        ClientCertificate::Files(chain) => Some(chain),
    };
    let trust = match &tls.trust {
        Trust::Mesh => ClientTrust::Chain(mesh_bundle(credentials?)),
        Trust::Roots(bundle) => ClientTrust::Host(bundle, &names),
        Trust::Unverified => ClientTrust::Unverified,
    };
    Some(backend.client_config(&ClientParameters {
        certificate,
        trust,
        alpn: &tls.alpn.offered(inside(protocol)),
        min_version: version(tls.min_version),
        cipher_suites: &tls.cipher_suites,
    }))
}

fn mesh_bundle(credentials: &Credentials) -> &Bundle {
    &credentials.bundle
}

fn names(sans: &ExpectedSans) -> Vec<Arc<str>> {
    sans.0.iter().map(|san| san.name.clone()).collect()
}

fn inside(protocol: Protocol) -> Inside {
    match protocol {
        Protocol::Http => Inside::Http11,
        Protocol::Tcp => Inside::Tcp,
    }
}

fn version(version: TlsVersion) -> sidering_tls::Version {
    match version {
        TlsVersion::Tls12 => sidering_tls::Version::Tls12,
        TlsVersion::Tls13 => sidering_tls::Version::Tls13,
    }
}

/// The different ways in which a cluster's endpoints want TLS: seldom more than one.
fn distinct_tls(cluster: &Cluster) -> Vec<&Arc<UpstreamTls>> {
    let Discovery::Static(endpoints) = &cluster.discovery else { return Vec::new() };
    let mut distinct: Vec<&Arc<UpstreamTls>> = Vec::new();
    for tls in endpoints.iter().filter_map(|endpoint| endpoint.tls.as_ref()) {
        if !distinct.iter().any(|known| Arc::ptr_eq(known, tls) || *known == tls) {
            distinct.push(tls);
        }
    }
    distinct
}

fn capture_ports(snapshot: &Snapshot) -> HashSet<u16> {
    let ports = snapshot.listeners.iter().filter(|listener| listener.captures);
    ports
        .filter_map(|listener| match &listener.bind {
            BindAddress::Tcp(address) => Some(address.port()),
            BindAddress::Unix(_) => None,
        })
        .collect()
}

fn described(chain: &Chain) -> String {
    format!("chain {} ({})", chain.name, chain.origin)
}
