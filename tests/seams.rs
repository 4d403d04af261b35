//! That the seams between our crates carry what others have written: h2, and TLS of one library to TLS of the other,
//! through `net::Stream` and `tls::TlsStream`, over a pipe in memory, over a stream that takes few bytes and often
//! answers "not now", and over sockets of both drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use sidering_identity::{Bundle, CertificateChain, TrustDomain, peer_identity};
use sidering_net::{
    BoundListener, Driver, ListenAddress, Stream, TcpListener, TcpStream, block_on, later, spawn_local,
};
use sidering_tls::{
    Backend, ClientParameters, ClientTrust, ServerParameters, TicketKeys, TlsStream, Version, accept, connect,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

const DRIVERS: [Driver; 2] = [Driver::IoUring, Driver::Epoll];

#[test]
fn h2_over_a_pipe() {
    each_driver(async || {
        let (client, server) = tokio::io::duplex(16 * 1024);
        h2_exchange(client, server).await;
    });
}

#[test]
fn h2_over_few_bytes_at_a_time() {
    each_driver(async || {
        let (client, server) = scripted();
        h2_exchange(client, server).await;
    });
}

#[test]
fn h2_over_sockets() {
    each_driver(async || {
        let (client, server) = sockets().await;
        h2_exchange(client, server).await;
    });
}

#[test]
fn mutual_tls_between_libraries_and_h2_within_it_over_a_pipe() {
    each_driver(async || {
        for (client, server) in pairs() {
            let (left, right) = tokio::io::duplex(16 * 1024);
            let (left, right) = mutual_tls(client, server, left, right).await;
            h2_exchange(left, right).await;
        }
    });
}

#[test]
fn mutual_tls_between_libraries_and_h2_within_it_over_few_bytes_at_a_time() {
    each_driver(async || {
        for (client, server) in pairs() {
            let (left, right) = scripted();
            let (left, right) = mutual_tls(client, server, left, right).await;
            h2_exchange(left, right).await;
        }
    });
}

#[test]
fn mutual_tls_between_libraries_and_h2_within_it_over_sockets() {
    each_driver(async || {
        for (client, server) in pairs() {
            let (left, right) = sockets().await;
            let (left, right) = mutual_tls(client, server, left, right).await;
            h2_exchange(left, right).await;
        }
    });
}

fn each_driver<Fut: Future<Output = ()>>(test: impl Fn() -> Fut) {
    for driver in DRIVERS {
        println!("{driver}");
        block_on(driver, test()).unwrap();
    }
}

/// Every library that is compiled in, with every one.
fn pairs() -> impl Iterator<Item = (Backend, Backend)> {
    let backends = Backend::compiled();
    assert_eq!(backends.len(), 2, "between libraries takes both of them: {backends:?}");
    backends.iter().flat_map(move |&client| backends.iter().map(move |&server| (client, server)))
}

async fn sockets() -> (TcpStream, TcpStream) {
    let anywhere = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let mut listener = TcpListener::adopt(BoundListener::bind(&anywhere).unwrap()).unwrap();
    let ListenAddress::Tcp(address) = listener.local_address() else {
        panic!("a TCP listener has a TCP address")
    };
    let client = TcpStream::connect(address, soon()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A POST whose body comes back, larger than a flow-control window, with both ends driven as h2 wants it.
async fn h2_exchange<S: Stream + 'static>(client: S, server: S) {
    spawn_local(async move {
        let mut connection = h2::server::handshake(server).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let (head, mut body) = request.into_parts();
        assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/echo"));
        let mut sending = respond.send_response(http::Response::new(()), false).unwrap();
        let echoing = async {
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                send(&mut sending, data).await;
            }
            sending.send_data(Bytes::new(), true).unwrap();
        };
        let driving = async { while connection.accept().await.is_some() {} };
        tokio::join!(echoing, driving);
    });

    let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
    // How it ends is not asked: the server leaves first, without good-byes.
    spawn_local(async move { _ = connection.await });
    let request = http::Request::post("http://seams.test/echo").body(()).unwrap();
    poll_fn(|cx| requests.poll_ready(cx)).await.unwrap();
    let (response, mut sending) = requests.send_request(request, false).unwrap();
    let sent: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let uploading = async {
        for piece in sent.chunks(10_000) {
            send(&mut sending, Bytes::copy_from_slice(piece)).await;
        }
        sending.send_data(Bytes::new(), true).unwrap();
    };
    let downloading = async {
        let mut body = response.await.unwrap().into_body();
        let mut got = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        got
    };
    let ((), got) = tokio::join!(uploading, downloading);
    assert!(got == sent);
}

/// With backpressure: as much as the window lets through at a time.
async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        stream.send_data(data.split_to(room.min(data.len())), false).unwrap();
    }
}

/// A handshake in which each side must prove itself, and does so to `identity`.
async fn mutual_tls<S: Stream>(
    client: Backend,
    server: Backend,
    left: S,
    right: S,
) -> (TlsStream<S>, TlsStream<S>) {
    println!("client {client}, server {server}");
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let bundle = Bundle { roots: vec![root.der().to_vec()] };
    let alpn: Vec<Arc<str>> = vec!["h2".into()];
    let server = server
        .server_config(&ServerParameters {
            chain: &leaf(&root, "server"),
            clients: &bundle,
            alpn: &alpn,
            min_version: Version::Tls13,
            cipher_suites: &[],
            tickets: &TicketKeys::new(),
        })
        .unwrap();
    let client = client
        .client_config(&ClientParameters {
            certificate: Some(&leaf(&root, "client")),
            trust: ClientTrust::Chain(&bundle),
            alpn: &alpn,
            min_version: Version::Tls13,
            cipher_suites: &[],
        })
        .unwrap();
    let offered = ["h2".into()];
    let (connected, accepted) = tokio::join!(
        connect(left, &client, Some("seams.test"), soon()),
        accept(right, &server, &offered, soon())
    );
    let ((left, seen_by_client), (right, seen_by_server)) = (connected.unwrap(), accepted.unwrap());
    let domains = [TrustDomain::parse("seams.test").unwrap()];
    for (seen, account) in [(&seen_by_client, "server"), (&seen_by_server, "client")] {
        let peer = peer_identity(seen.peer_leaf.as_deref().unwrap(), &domains).unwrap();
        assert_eq!(peer.id.account(), Some(("a", account)));
        assert_eq!(seen.alpn.as_deref(), Some("h2"));
    }
    assert_eq!(seen_by_client.cipher, seen_by_server.cipher);
    assert_eq!(seen_by_client.group, seen_by_server.group);
    (left, right)
}

fn leaf(root: &CertifiedIssuer<'static, KeyPair>, account: &str) -> CertificateChain {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let id = format!("spiffe://seams.test/ns/a/sa/{account}");
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, root).unwrap();
    CertificateChain { certificates: vec![leaf.der().to_vec()], key: Arc::new(key.serialize_der().into()) }
}

/// Takes and gives as many bytes as the script says, and answers `Pending` as often as the script says: each number is
/// a poll, 0 for "not now".
struct Scripted {
    io: DuplexStream,
    reads: Script,
    writes: Script,
}

struct Script {
    steps: &'static [usize],
    at: usize,
}

impl Script {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let step = self.steps[self.at % self.steps.len()];
        self.at += 1;
        if step == 0 {
            later(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(step)
    }
}

fn scripted() -> (Scripted, Scripted) {
    let (left, right) = tokio::io::duplex(64 * 1024);
    let stream = |io, reads, writes| Scripted {
        io,
        reads: Script { steps: reads, at: 0 },
        writes: Script { steps: writes, at: 0 },
    };
    (stream(left, &[1, 0, 7, 900], &[3, 0, 0, 5000]), stream(right, &[0, 2, 3000], &[1, 0, 1700]))
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = ready!(self.reads.poll_step(cx)).min(buf.remaining());
        let mut part = vec![0; most];
        let mut small = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut small))?;
        buf.put_slice(small.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = ready!(self.writes.poll_step(cx)).min(bytes.len());
        Pin::new(&mut self.io).poll_write(cx, &bytes[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Stream for Scripted {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}
