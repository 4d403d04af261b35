//! A client and a server of any two backends, over a pipe in memory.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidering_identity::{Bundle, CertificateChain};
use sidering_net::{Driver, Stream, block_on};
use sidering_tls::{
    Backend, ClientConfig, ClientParameters, ClientTrust, Failure, Handshake, ServerConfig, ServerParameters,
    TicketKeys, TlsStream, Version, accept, connect,
};
use tokio::io::DuplexStream;

use crate::pki::{Authority, CLIENT, SERVER};

pub(crate) type Side<S = DuplexStream> = Result<(TlsStream<S>, Handshake), Failure>;

/// Runs `test` for every client backend with every server backend, on a worker.
pub(crate) fn each_pair<Fut: Future<Output = ()>>(test: impl Fn(Pair) -> Fut) {
    for &client in Backend::compiled() {
        for &server in Backend::compiled() {
            println!("client {client}, server {server}");
            run(test(Pair::new(client, server)));
        }
    }
}

pub(crate) fn run<T>(f: impl Future<Output = T>) -> T {
    block_on(Driver::Epoll, f).unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) fn names(list: &[&str]) -> Vec<Arc<str>> {
    list.iter().map(|name| (*name).into()).collect()
}

pub(crate) fn offered(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|name| (*name).into()).collect()
}

/// What both sides are made of; a test changes what it is about.
pub(crate) struct Pair {
    pub(crate) client_backend: Backend,
    pub(crate) server_backend: Backend,
    pub(crate) client_chain: Option<CertificateChain>,
    pub(crate) server_chain: CertificateChain,
    pub(crate) client_roots: Bundle,
    pub(crate) server_roots: Bundle,
    pub(crate) client_alpn: Vec<Arc<str>>,
    pub(crate) server_alpn: Vec<Arc<str>>,
    pub(crate) client_min: Version,
    pub(crate) server_min: Version,
    pub(crate) client_suites: Vec<Arc<str>>,
    pub(crate) server_suites: Vec<Arc<str>>,
    pub(crate) tickets: TicketKeys,
    pub(crate) pipe: usize,
}

impl Pair {
    pub(crate) fn new(client_backend: Backend, server_backend: Backend) -> Self {
        let authority = Authority::new("root");
        Self {
            client_backend,
            server_backend,
            client_chain: Some(authority.leaf(CLIENT, |_| {})),
            server_chain: authority.leaf(SERVER, |_| {}),
            client_roots: authority.bundle(),
            server_roots: authority.bundle(),
            client_alpn: Vec::new(),
            server_alpn: Vec::new(),
            client_min: Version::Tls12,
            server_min: Version::Tls12,
            client_suites: Vec::new(),
            server_suites: Vec::new(),
            tickets: TicketKeys::new(),
            pipe: 64 * 1024,
        }
    }

    pub(crate) fn server(&self) -> ServerConfig {
        let parameters = ServerParameters {
            chain: &self.server_chain,
            clients: &self.server_roots,
            alpn: &self.server_alpn,
            min_version: self.server_min,
            cipher_suites: &self.server_suites,
            tickets: &self.tickets,
        };
        self.server_backend.server_config(&parameters).unwrap()
    }

    pub(crate) fn client(&self) -> ClientConfig {
        self.client_trusting(ClientTrust::Chain(&self.client_roots))
    }

    pub(crate) fn client_trusting(&self, trust: ClientTrust<'_>) -> ClientConfig {
        let parameters = ClientParameters {
            certificate: self.client_chain.as_ref(),
            trust,
            alpn: &self.client_alpn,
            min_version: self.client_min,
            cipher_suites: &self.client_suites,
        };
        self.client_backend.client_config(&parameters).unwrap()
    }

    /// One handshake with fresh configurations.
    pub(crate) async fn shake(&self) -> (Side, Side) {
        self.shake_with(&self.client(), &self.server(), Some("server.test")).await
    }

    /// One handshake; what the client offers is what the server is told.
    pub(crate) async fn shake_with(
        &self,
        client: &ClientConfig,
        server: &ServerConfig,
        name: Option<&str>,
    ) -> (Side, Side) {
        let (left, right) = tokio::io::duplex(self.pipe);
        let alpn: Vec<Box<str>> = self.client_alpn.iter().map(|name| (**name).into()).collect();
        both(connect(left, client, name, soon()), accept(right, server, &alpn, soon())).await
    }
}

pub(crate) async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

/// Both sides agreed.
pub(crate) fn agreed<S: Stream>(
    sides: (Side<S>, Side<S>),
) -> ((TlsStream<S>, Handshake), (TlsStream<S>, Handshake)) {
    match sides {
        (Ok(client), Ok(server)) => (client, server),
        (client, server) => panic!("client: {:?}, server: {:?}", client.err(), server.err()),
    }
}
