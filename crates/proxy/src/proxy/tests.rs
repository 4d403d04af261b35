use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use sidering_net::{Driver, probe};
use sidering_policy::{
    Address, BalancerKind, Chain, ChainMatch, Cluster, Direction, Discovery, Endpoint, Filter, Transport,
    WeightedCluster,
};
use sidering_tls::Backend;

use super::*;

/// Longer than anything here takes; it only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each test on each driver.
macro_rules! on_both_drivers {
    ($($test:ident)*) => {
        mod io_uring { $(#[test] fn $test() { super::$test(sidering_net::Driver::IoUring) })* }
        mod epoll { $(#[test] fn $test() { super::$test(sidering_net::Driver::Epoll) })* }
    };
}

on_both_drivers! {
    a_core_that_is_late_is_named_and_loses_nothing
    a_listener_that_broke_is_told_and_bound_anew
    a_listener_that_cannot_be_adopted_refuses_the_publish
    a_drain_reaches_those_that_nobody_has_accepted_yet
    a_drain_serves_those_whose_bytes_are_there_already
    addresses_are_free_once_nothing_listens_there_any_more
    those_in_the_queue_of_a_listener_that_goes_are_refused_on_record
}

fn start(driver: Driver, workers: usize) -> Proxy {
    // Both drivers must be there: one that is missing fails the test.
    probe(sidering_net::DriverChoice::IoUring).unwrap();
    Proxy::start(Options { workers, ..Options::new(driver, Backend::Rustls) }).unwrap()
}

fn origin() -> Origin {
    Origin { kind: "Sidecar".into(), name: "shop/default".into(), rule: None, position: None }
}

/// Listeners on ports that the kernel chooses. They wait for a client's first bytes, and refuse whatever
/// these are.
fn listening(names: &[&str]) -> Snapshot {
    listening_at([127, 0, 0, 1], names)
}

fn listening_at(ip: [u8; 4], names: &[&str]) -> Snapshot {
    let chain = Chain {
        name: "tls".into(),
        matches: ChainMatch { transport: Some(Transport::Tls), ..ChainMatch::default() },
        tls: None,
        filter: Filter::Tcp(Arc::default()),
        authorization: Arc::default(),
        origin: origin(),
    };
    let chain = Arc::new(chain);
    let listener = |name: &&str| {
        Arc::new(Listener {
            name: (*name).into(),
            bind: BindAddress::Tcp((ip, 0).into()),
            direction: Direction::Inbound,
            captures: false,
            chains: vec![chain.clone()].into(),
            detection_timeout: Some(10 * PATIENCE),
            origin: origin(),
        })
    };
    Snapshot { listeners: names.iter().map(listener).collect(), ..Snapshot::default() }
}

fn address(proxy: &Proxy, name: &str) -> SocketAddr {
    let listeners = proxy.status().listeners;
    listeners.iter().find(|listener| listener.name == name).unwrap().address.parse().unwrap()
}

/// What is there once it is.
fn until<T>(found: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "it never came");
        thread::yield_now();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Somebody accepts there: what is no TLS is answered by an end.
fn is_served(address: SocketAddr) {
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let read = stream.read(&mut [0]);
    assert!(matches!(read, Ok(0)) || read.is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionReset));
}

/// Runs `test` while the first core stands still, as it does where a record has to wait for its place.
fn with_a_core_that_stands_still(proxy: &Proxy, listener: &str, test: impl FnOnce()) {
    let held = proxy.0.cores[0].ring.hold();
    let mut stream = connect(address(proxy, listener));
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    until(|| proxy.metrics().refusals.first().map(drop));
    test();
    drop(held);
}

fn a_core_that_is_late_is_named_and_loses_nothing(driver: Driver) {
    let proxy = start(driver, 1);
    proxy.publish(listening(&["first"])).unwrap();
    with_a_core_that_stands_still(&proxy, "first", || {
        thread::scope(|scope| {
            let publish = scope.spawn(|| proxy.publish(listening(&["first", "second"])));
            let status = until(|| Some(proxy.status()).filter(|status| status.published == 2));
            assert_eq!(status.snapshot, 1, "not in force yet");
            assert!(!publish.is_finished(), "status has waited for the publish");
            let refusal = publish.join().unwrap().unwrap_err();
            assert!(matches!(&refusal, PublishRefusal::Silent { cores } if *cores == [0]), "{refusal}");
        });
        let status = proxy.status();
        assert_eq!((status.snapshot, status.published, status.cores[0].snapshot), (1, 2, 1));
    });
    until(|| Some(proxy.status()).filter(|status| status.snapshot == 2));
    is_served(address(&proxy, "second"));
    assert!(proxy.drain(PATIENCE));
}

fn a_listener_that_broke_is_told_and_bound_anew(driver: Driver) {
    let proxy = start(driver, 2);
    proxy.publish(listening(&["first"])).unwrap();
    let address = address(&proxy, "first");
    break_listener(&proxy);
    let deaf = until(|| proxy.status().deaf.pop());
    assert!(deaf.starts_with("first on core 0 ("), "{deaf}");

    proxy.publish(listening(&["first"])).unwrap();
    let status = proxy.status();
    assert_eq!((status.deaf, status.listeners[0].address.clone()), (Vec::new(), address.to_string()));
    let before = until(|| Some(proxy.0.cores[0].counters.of(Direction::Inbound).opened.value()));
    for _ in 0..64 {
        is_served(address);
    }
    let served = proxy.0.cores[0].counters.of(Direction::Inbound).opened.value() - before;
    assert!(served > 0, "the kernel spreads them over both cores");
    assert!(proxy.drain(PATIENCE));
}

fn addresses_are_free_once_nothing_listens_there_any_more(driver: Driver) {
    let proxy = start(driver, 2);
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Where no other test's connection can come to have one of the ports.
    let ip = [127, 88, 1, if driver == Driver::Epoll { 1 } else { 2 }];
    proxy.publish(listening_at(ip, &names)).unwrap();
    let listeners = proxy.status().listeners;
    assert_eq!(listeners.len(), 100);
    proxy.publish(listening(&[])).unwrap();
    for listener in listeners {
        drop(TcpListener::bind(&listener.address).unwrap());
    }
}

/// Gives the first core another socket for its listener, which ends like one that somebody has shut down.
fn break_listener(proxy: &Proxy) {
    let control = proxy.control().clone();
    let (key, bound) = control.bound.into_iter().next().unwrap();
    let ours = bound.sockets.into_iter().collect();
    let socket = BoundListener::bind_beside(&bound.address, &ours).unwrap();
    TcpStream::from(socket.as_fd().try_clone_to_owned().unwrap()).shutdown(Shutdown::Both).unwrap();
    let (switched, _) = mpsc::channel();
    let command = Command::Switch { live: control.live, bound: vec![(key, socket)], switched };
    assert!(proxy.0.commands[0].send(command).is_ok());
}

fn a_listener_that_cannot_be_adopted_refuses_the_publish(driver: Driver) {
    let name = format!("a_listener_that_cannot_be_adopted_refuses_the_publish::{driver}");
    alone(driver, "a_listener_that_cannot_be_adopted_refuses_the_publish", || {
        let proxy = start(driver, 1);
        proxy.publish(listening(&["first"])).unwrap();
        refuse_epoll_ctl();
        let refusal = proxy.publish(listening(&["first", "second"])).unwrap_err().to_string();
        assert!(refusal.starts_with("second on core 0 ("), "{name}: {refusal}");
        let status = proxy.status();
        assert_eq!((status.snapshot, status.deaf.len()), (2, 1), "{name}");
        // It was given back: nobody waits in the queue of a socket that is not served.
        let refused = TcpStream::connect(address(&proxy, "second")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{name}");
    });
}

/// Runs `body`, the test of that name, in a process of its own.
fn alone(driver: Driver, test: &str, body: impl FnOnce()) {
    const ALONE: &str = "SIDERING_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let name = format!("proxy::tests::{driver}::{test}");
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// From here on nothing more goes into an epoll set: as when the user has reached the limit of watches.
fn refuse_epoll_ctl() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = std::collections::BTreeMap::from([(libc::SYS_epoll_ctl, Vec::new())]);
    let refusal = SeccompAction::Errno(libc::ENOSPC.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    seccompiler::apply_filter_all_threads(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn a_drain_reaches_those_that_nobody_has_accepted_yet(driver: Driver) {
    let proxy = start(driver, 1);
    proxy.publish(listening(&["first"])).unwrap();
    let address = address(&proxy, "first");
    let mut clients = Vec::new();
    let mut drain = None;
    with_a_core_that_stands_still(&proxy, "first", || {
        clients.extend((0..200).map(|_| connect(address)));
        let draining = proxy.clone();
        drain = Some(thread::spawn(move || draining.drain(PATIENCE)));
        until(|| proxy.status().draining.then_some(()));
    });
    assert!(drain.unwrap().join().unwrap(), "somebody was not told");
    assert_eq!(clients.len(), 200);
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed, not reset");
    }
}

fn a_drain_serves_those_whose_bytes_are_there_already(driver: Driver) {
    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = start(driver, 1);
    let mut snapshot = listening(&["first"]);
    forward(&mut snapshot, application.local_addr().unwrap());
    proxy.publish(snapshot).unwrap();
    let address = address(&proxy, "second");
    let (mut before, mut client, mut drain) = (Vec::new(), None, None);
    with_a_core_that_stands_still(&proxy, "first", || {
        // More than are taken at once: the drain begins before the last one is.
        before.extend((0..200).map(|_| connect(address)));
        let mut stream = connect(address);
        stream.write_all(b"ping").unwrap();
        client = Some(stream);
        let draining = proxy.clone();
        drain = Some(thread::spawn(move || draining.drain(PATIENCE)));
        until(|| proxy.status().draining.then_some(()));
    });
    let (mut served, _) = application.accept().unwrap();
    served.set_read_timeout(Some(PATIENCE)).unwrap();
    served.read_exact(&mut [0; 4]).unwrap();
    served.write_all(b"pong").unwrap();
    drop(served);
    let mut answer = Vec::new();
    client.unwrap().read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"pong");
    assert!(drain.unwrap().join().unwrap());
}

/// Adds a listener that takes plain bytes to `application`.
fn forward(snapshot: &mut Snapshot, application: SocketAddr) {
    let endpoint = Endpoint { address: Address::Tcp(application), weight: 1, tls: None, origin: origin() };
    let cluster = Cluster {
        name: "inbound|9||".into(),
        discovery: Discovery::Static(vec![Arc::new(endpoint)]),
        balancer: BalancerKind::default(),
        connect_timeout: PATIENCE,
        idle_timeout: None,
        tcp_idle_timeout: None,
        max_connections: None,
        max_requests_per_connection: None,
        origin: origin(),
    };
    let to = WeightedCluster { cluster: cluster.name.clone(), weight: 1 };
    snapshot.clusters.insert(cluster.name.clone(), Arc::new(cluster));
    let chain = Chain {
        name: "raw".into(),
        matches: ChainMatch::default(),
        tls: None,
        filter: Filter::Tcp(vec![to].into()),
        authorization: Arc::default(),
        origin: origin(),
    };
    let second = Listener {
        name: "second".into(),
        bind: BindAddress::Tcp(([127, 0, 0, 1], 0).into()),
        direction: Direction::Inbound,
        captures: false,
        // Told apart by the first bytes, so that these are waited for.
        chains: vec![listening(&["tls"]).listeners[0].chains[0].clone(), Arc::new(chain)].into(),
        detection_timeout: Some(10 * PATIENCE),
        origin: origin(),
    };
    snapshot.listeners.push(Arc::new(second));
}

fn those_in_the_queue_of_a_listener_that_goes_are_refused_on_record(driver: Driver) {
    let proxy = start(driver, 1);
    proxy.publish(listening(&["first"])).unwrap();
    let address = address(&proxy, "first");
    let before = proxy.control().live.clone();
    let live = Live::build(&before, Arc::new(listening(&[])), None, Backend::Rustls).ok().unwrap();
    let (switched, answer) = mpsc::channel();
    let mut clients = Vec::new();
    with_a_core_that_stands_still(&proxy, "first", || {
        clients.extend((0..200).map(|_| connect(address)));
        let command = Command::Switch { live: Arc::new(live), bound: Vec::new(), switched };
        assert!(proxy.0.commands[0].send(command).is_ok());
    });
    answer.recv_timeout(PATIENCE).unwrap();
    assert_eq!(proxy.0.cores[0].counters.of(Direction::Inbound).opened.value(), 201);
    let record = proxy.records().pop().unwrap();
    assert_eq!((record.reason, record.phase), (crate::Reason::NoListener, crate::Phase::Accept));
    assert!(record.peer.is_some_and(|peer| clients.iter().any(|it| it.local_addr().unwrap() == peer)));
}
