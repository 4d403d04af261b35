//! A sidecar that runs: ready, asked, reloaded, drained. No traffic goes through it but what shows that it listens.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::{BOOTSTRAP, Place, STRICT, Said};

/// After this a line, or an end, that has not come will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Killed when dropped.
struct Running<'a> {
    place: &'a Place,
    child: Child,
    log: Receiver<String>,
}

impl<'a> Running<'a> {
    /// Starts it and waits for the line that says it is ready.
    #[track_caller]
    fn start(place: &'a Place) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidering"));
        Self::start_with(place, command.args(["run", "--config", "sidering.yaml"]))
    }

    #[track_caller]
    fn start_with(place: &'a Place, command: &mut Command) -> (Self, String) {
        let command = command.current_dir(place.path("")).env_remove("RUST_LOG");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (tell, log) = mpsc::channel();
        std::thread::spawn(move || lines.into_iter().try_for_each(|line| tell.send(line)));
        let running = Self { place, child, log };
        let line = running.said("sidering ready");
        (running, line)
    }

    /// The next line of its log with that text.
    #[track_caller]
    fn said(&self, text: &str) -> String {
        let (deadline, mut seen) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(why) => panic!("it never said {text:?} ({why}): {seen:#?}"),
            }
        }
    }

    fn ask(&self, arguments: &[&str]) -> Said {
        self.place.sidering(&[arguments, &["--config", "sidering.yaml"]].concat())
    }

    #[track_caller]
    fn status(&self) -> Value {
        let said = self.ask(&["status", "-o", "json"]);
        said.is(0, &[]);
        serde_json::from_str(&said.out).unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    #[track_caller]
    fn exit_code(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // One that has ended already is what some tests want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request, and everything that comes back.
fn http(address: &str, method: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn it_says_what_it_decided_and_answers_over_the_socket() {
    let place = Place::new();
    let (running, ready) = Running::start(&place);
    assert!(ready.contains("spiffe://cluster.local/ns/shop/sa/orders"), "{ready}");
    assert!(ready.contains("epoll"), "{ready}");
    running.ask(&["wait"]).is(0, &[]);
    let status = running.status();
    assert_eq!(
        (&status["ready"], &status["version"], &status["stale"]),
        (&true.into(), &1.into(), &Value::Null)
    );
    assert_eq!(status["authentication"]["default"]["mode"], "STRICT");
    let by = status["authentication"]["default"]["by"].as_str().unwrap();
    assert!(by.starts_with("PeerAuthentication shop/default (mesh/strict.yaml:4:"), "{by}");
    let certs: Value = serde_json::from_str(&running.ask(&["certs", "-o", "json"]).out).unwrap();
    assert_eq!(certs["chain"][0]["names"][0], "spiffe://cluster.local/ns/shop/sa/orders");
    assert_eq!(certs["chain"][0]["serial"], status["certificate"]["serial"]);
    assert!(!certs.to_string().contains("PRIVATE"), "{certs:#}");
    running.ask(&["explain", "last"]).is(1, &["nothing was refused"]);
    running.ask(&["explain", "7"]).is(1, &["no record"]);
    let text = running.ask(&["status"]).out;
    assert!(text.starts_with("ready: spiffe://cluster.local/ns/shop/sa/orders\nsnapshot 1 since "), "{text}");
}

/// A connection that would come back to the sidecar for ever.
fn loops(capture: &str) {
    let mut stream = TcpStream::connect(capture).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or_default(), 0);
}

#[test]
fn refusals_are_in_the_log_until_there_are_too_many() {
    let place = Place::new();
    let listeners = "listeners: {inbound: \"127.87.4.1:15006\"}\n";
    place.write("sidering.yaml", &format!("{BOOTSTRAP}{listeners}"));
    let (running, _) = Running::start(&place);
    (0..40).for_each(|_| loops("127.87.4.1:15006"));
    let line = running.said("has no original destination");
    assert!(line.contains(" a connection to 127.87.4.1:15006 from 127."), "{line}");
    assert!(line.contains("[own-port, record "), "{line}");
    // The connections may come in two seconds: each is told or counted, once.
    let (mut told, mut left_out) = (1, 0);
    while told + left_out < 40 {
        let line = running.said("");
        match line.split_once(" more were left out, see `sidering explain`") {
            Some((before, _)) => left_out += before.rsplit(' ').next().unwrap().parse::<u32>().unwrap(),
            None => told += u32::from(line.contains("[own-port, record ")),
        }
    }
    assert!(told + left_out == 40 && left_out > 0, "{told} were told, {left_out} were not");
}

#[test]
fn records_are_followed_and_over_a_restart() {
    let place = Place::new();
    let listeners = "listeners: {inbound: \"127.87.5.1:15006\"}\n";
    place.write("sidering.yaml", &format!("{BOOTSTRAP}{listeners}"));
    let (running, _) = Running::start(&place);
    loops("127.87.5.1:15006");
    let mut follow = Command::new(env!("CARGO_BIN_EXE_sidering"));
    follow.args(["explain", "--follow", "--config", "sidering.yaml"]).current_dir(place.path(""));
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (tell, told) = mpsc::channel();
    let errors = tell.clone();
    let (out, err) = (follow.stdout.take().unwrap(), follow.stderr.take().unwrap());
    std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    std::thread::spawn(move || {
        BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| errors.send(line))
    });
    let mut seen = Vec::new();
    let mut says = |text: &str| {
        while !seen.last().is_some_and(|line: &String| line.contains(text)) {
            seen.push(told.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("{text} ({why}): {seen:#?}")));
        }
    };
    says("following ");
    loops("127.87.5.1:15006");
    says("record 2");
    drop(running);
    says("waiting until it answers");
    let (_running, _) = Running::start(&place);
    says("was started anew");
    loops("127.87.5.1:15006");
    says("record 1");
    let firsts = seen.iter().filter(|line| line.contains("record 1")).count();
    assert_eq!(firsts, 1, "what was on record before is not told: {seen:#?}");
    let interrupt = Command::new("kill").args(["-INT", &follow.id().to_string()]).status().unwrap();
    assert!(interrupt.success() && follow.wait().unwrap().success());
}

#[test]
fn the_tcp_addresses_read_and_change_nothing() {
    let place = Place::new();
    let admin = "admin: {socket: admin.sock, address: \"127.87.1.1:15000\"}\n\
                 stats: {address: \"127.87.1.1:15020\"}\nreadiness: {address: \"127.87.1.1:15021\"}";
    place.write("sidering.yaml", &BOOTSTRAP.replace("admin: {socket: admin.sock}", admin));
    let (_running, _) = Running::start(&place);
    let get = |port: u16, path: &str| http(&format!("127.87.1.1:{port}"), "GET", path, "127.87.1.1");
    for path in [
        "/ready",
        "/healthz/ready",
        "/live",
        "/status",
        "/explain",
        "/decisions",
        "/certs",
        "/config_dump",
        "/version",
        "/stats/prometheus",
    ] {
        let reply = get(15000, path);
        assert!(reply.starts_with("HTTP/1.1 200 "), "{path}: {reply}");
    }
    for path in ["/drain", "/reload", "/logging?level=error", "/quitquitquit"] {
        let reply = http("127.87.1.1:15000", "POST", path, "localhost");
        assert!(reply.starts_with("HTTP/1.1 404 "), "{path}: {reply}");
    }
    let rebound = http("127.87.1.1:15000", "GET", "/status", "evil.example");
    assert!(rebound.starts_with("HTTP/1.1 421 ") && !rebound.contains("orders"), "{rebound}");
    assert!(get(15020, "/status").starts_with("HTTP/1.1 404 "));
    assert!(get(15021, "/stats/prometheus").starts_with("HTTP/1.1 404 "));
    assert!(get(15021, "/healthz/ready").starts_with("HTTP/1.1 200 "));
    let metrics = get(15020, "/stats/prometheus");
    for line in [
        "sidering_ready 1",
        "sidering_snapshot_version 1",
        "sidering_config_stale{of=\"resources\"} 0",
        "sidering_config_reloads_total{of=\"resources\",result=\"accepted\"} 1",
        "sidering_certificate_expiry_seconds{kind=\"leaf\",serial=",
        "sidering_connections_opened_total{direction=\"inbound\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

/// Over the admin socket.
fn over_socket(place: &Place, method: &str, path: &str) -> String {
    let mut stream = UnixStream::connect(place.path("admin.sock")).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

const SHOP: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: shop}
spec:
  hosts: [bank.example]
  resolution: STATIC
  ports: [{number: 8443, protocol: HTTP, name: http}]
  endpoints: [{address: 127.0.0.3, serviceAccount: bank}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: bank, namespace: shop}
spec:
  host: bank.example
  trafficPolicy:
    tls: {mode: MUTUAL, sni: the.bank, subjectAltNames: [bank.name], clientCertificate: AT/orders.pem, privateKey: AT/orders.key, caCertificates: AT/ca/ca.pem}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bank, namespace: shop}
spec:
  hosts: [bank.example]
  http:
  - match: [{uri: {prefix: /accounts}, headers: {x-token: {exact: S3CRET-MATCHED}}}]
    headers: {request: {set: {authorization: S3CRET-SET}, add: {x-more: S3CRET-ADDED}}}
    route: [{destination: {host: bank.example, port: {number: 8443}}}]
  - directResponse: {status: 410, body: {string: S3CRET-BODY}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clerks, namespace: shop}
spec: {rules: [{from: [{source: {namespaces: [web]}}]}, {to: [{operation: {methods: [GET]}}]}]}
";

#[test]
fn what_is_in_force_is_shown_with_its_origins_and_without_a_secret() {
    let place = Place::new();
    place.write("mesh/shop.yaml", &SHOP.replace("AT/", &format!("{}/", place.path("").display())));
    let listeners = "listeners: {inbound: \"127.87.6.1:15006\", outbound: \"127.87.6.1:15001\"}\n";
    place.write("sidering.yaml", &format!("{BOOTSTRAP}{listeners}"));
    let (_running, _) = Running::start(&place);
    let reply = over_socket(&place, "GET", "/config_dump");
    let (_, body) = reply.split_once("\r\n\r\n").unwrap();
    let dump: Value = serde_json::from_str(body).unwrap_or_else(|why| panic!("{why}: {reply}"));
    assert_eq!(
        (&dump["version"], &dump["identity"]),
        (&1.into(), &"spiffe://cluster.local/ns/shop/sa/orders".into())
    );
    let listener = |address: &str| {
        let listeners = dump["listeners"].as_array().unwrap();
        listeners.iter().find(|it| it["address"] == address).unwrap_or_else(|| panic!("{dump:#}"))
    };

    let inbound = listener("127.87.6.1:15006");
    assert_eq!((&inbound["direction"], &inbound["captures"]), (&"inbound".into(), &true.into()));
    for chain in inbound["chains"].as_array().unwrap() {
        assert_eq!(chain["match"]["transport"], "tls", "STRICT: {chain:#}");
        assert!(chain["tls"]["alpn"].is_array(), "{chain:#}");
        let by = chain["by"].as_str().unwrap();
        assert!(by.starts_with("PeerAuthentication shop/default (mesh/strict.yaml:"), "{by}");
        let rules = &chain["rules"];
        assert_eq!(rules["deny"], Value::Array(Vec::new()));
        // Where there are no requests a rule about methods never allows.
        let allow = rules["allow"].as_array().unwrap();
        assert_eq!(allow.len(), if chain["protocol"] == "http" { 2 } else { 1 }, "{chain:#}");
        for (number, by) in allow.iter().enumerate() {
            let start = format!("AuthorizationPolicy shop/clerks[{number}] (mesh/shop.yaml:");
            assert!(by.as_str().unwrap().starts_with(&start), "{by}");
        }
    }

    let clusters = dump["clusters"].as_array().unwrap();
    let bank = clusters.iter().find(|it| it["name"] == "outbound|8443||bank.example").unwrap();
    let endpoint = &bank["endpoints"][0];
    assert_eq!(endpoint["address"], "127.0.0.3:8443");
    let tls = &endpoint["tls"];
    assert_eq!(
        (&tls["mode"], &tls["sni"], &tls["verified"]),
        (&"MUTUAL".into(), &"the.bank".into(), &true.into())
    );
    assert_eq!(tls["expected"][0]["name"], "bank.name");
    assert!(tls["expected"][0]["from"].as_str().unwrap().contains("mesh/shop.yaml:"), "{tls:#}");

    let chains = listener("127.87.6.1:15001")["chains"].as_array().unwrap();
    let tables = chains.iter().filter_map(|chain| chain["routes"]["virtualHosts"].as_array());
    let mut hosts = tables.flatten();
    let host = hosts.find(|host| host["domains"].to_string().contains("bank.example")).unwrap();
    let (first, second) = (&host["routes"][0], &host["routes"][1]);
    assert_eq!(first["match"][0]["path"]["prefix"], "/accounts");
    assert_eq!(
        (&first["match"][0]["headers"][0], &first["requestHeaders"]["set"][0]),
        (&"x-token".into(), &"authorization".into())
    );
    assert_eq!((&first["clusters"][0]["cluster"], &second["status"]), (&bank["name"], &410.into()));
    assert!(
        first["by"].as_str().unwrap().starts_with("VirtualService shop/bank[0] (mesh/shop.yaml:"),
        "{first:#}"
    );
    for secret in ["S3CRET", "PRIVATE", "BEGIN"] {
        assert!(!body.contains(secret), "{secret}: {body}");
    }
}

#[test]
fn the_level_of_the_log_changes_while_it_runs() {
    let place = Place::new();
    let (running, _) = Running::start(&place);
    let ask = |method, path| over_socket(&place, method, path);
    assert!(ask("GET", "/logging").ends_with("\r\n\r\ninfo\n"));
    assert!(ask("POST", "/logging?level=loud").starts_with("HTTP/1.1 400 "));
    assert!(ask("POST", "/logging?level=error").ends_with("\r\n\r\nerror\n"));
    assert!(ask("GET", "/logging").ends_with("\r\n\r\nerror\n"));
    assert!(ask("POST", "/reload").starts_with("HTTP/1.1 200 "));
    assert!(ask("POST", "/logging?level=info").ends_with("\r\n\r\ninfo\n"));
    assert!(ask("POST", "/reload").starts_with("HTTP/1.1 200 "));
    let line = running.said("is in force");
    assert!(line.contains("snapshot 3 is in force"), "the one before was told, too: {line}");
}

#[test]
fn it_drains_and_ends_when_it_is_asked_to() {
    let place = Place::new();
    let (running, _) = Running::start(&place);
    assert!(over_socket(&place, "GET", "/quitquitquit").starts_with("HTTP/1.1 405 "));
    assert!(over_socket(&place, "POST", "/quitquitquit").starts_with("HTTP/1.1 200 "));
    running.said("drained");
    assert_eq!(running.exit_code(), Some(0));
    assert!(!place.path("admin.sock").exists());
}

/// A sidecar that has fewer descriptors than there are clients, so that they would starve the data path.
#[test]
fn idle_clients_neither_keep_a_scrape_out_nor_stay() {
    const CLIENTS: usize = 300;
    let place = Place::new();
    let stats = "admin: {socket: admin.sock}\nstats: {address: \"127.87.2.1:15020\"}";
    place.write("sidering.yaml", &BOOTSTRAP.replace("admin: {socket: admin.sock}", stats));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 200; exec \"$0\" run --config sidering.yaml"]);
    let (_running, _) = Running::start_with(&place, command.arg(env!("CARGO_BIN_EXE_sidering")));
    let scrape = || http("127.87.2.1:15020", "GET", "/stats/prometheus", "127.87.2.1");
    let client = |number: usize| {
        let mut stream = TcpStream::connect("127.87.2.1:15020").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sent = ["", "GET /stats", "GET /stats/prometheus HTTP/1.1\r\nHost: x\r\n\r\n"][number % 3];
        stream.write_all(sent.as_bytes()).unwrap();
        stream
    };
    let clients: Vec<TcpStream> = (0..CLIENTS).map(client).collect();
    let begun = Instant::now();
    assert!(scrape().starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited for the clients: {:?}", begun.elapsed());
    for mut client in clients {
        // The end, or a reset; but an end.
        if let Err(error) = client.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    assert!(scrape().starts_with("HTTP/1.1 200 "));
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let place = Place::new();
    let (_running, _) = Running::start(&place);
    let reply = over_socket(&place, "GET", "/stats/prometheus");
    let types = reply.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let served: BTreeSet<String> = types
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let rows =
        include_str!("../../../../docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned());
    let documented: BTreeSet<String> =
        names.filter(|name| name.starts_with("sidering_") || name.starts_with("istio_")).collect();
    assert_eq!(served, documented);
}

#[test]
fn a_reload_is_taken_or_named_by_its_line() {
    let place = Place::new();
    let (running, _) = Running::start(&place);
    place.write("mesh/strict.yaml", &STRICT.replace("STRICT", "STRIKT"));
    let said = running.said("resources refused, snapshot 1 stays");
    assert!(said.contains("mesh/strict.yaml:4:"), "{said}");
    let status = running.status();
    assert!(status["stale"][0].as_str().unwrap().contains("mesh/strict.yaml:4:"), "{status:#}");
    assert_eq!((&status["version"], &status["ready"]), (&1.into(), &true.into()));
    place.write("mesh/strict.yaml", &STRICT.replace("STRICT", "PERMISSIVE"));
    running.said("snapshot 2 is in force");
    assert_eq!(running.status()["authentication"]["default"]["mode"], "PERMISSIVE");
    running.signal("HUP");
    running.said("snapshot 3 is in force");
    place.issue("orders");
    running.said("credentials 3 from orders.pem are in use");
    fs::remove_file(place.path("mesh/strict.yaml")).unwrap();
    place.write(
        "mesh/other.yaml",
        &STRICT
            .replace("name: default", "name: other")
            .replace("mtls", "selector: {matchLabels: {app: x}}, mtls"),
    );
    running.said("no PeerAuthentication selects this workload any more");
}

#[test]
fn the_socket_is_private_and_goes_with_the_process() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let (running, _) = Running::start(&place);
    assert_eq!(fs::metadata(place.path("admin.sock")).unwrap().mode() & 0o777, 0o600);
    let second = place.sidering(&["run", "--config", "sidering.yaml"]);
    second.is(
        2,
        &["sidering.yaml:6:17: admin.socket: cannot listen on admin.sock: another process answers on it"],
    );
    running.ask(&["wait"]).is(0, &[]);
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    assert!(!place.path("admin.sock").exists());
}

#[test]
fn it_ends_with_the_parent_that_it_was_told() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" run --config sidering.yaml --parent $$ & wait"]);
    let (mut running, _) = Running::start_with(&place, command.arg(env!("CARGO_BIN_EXE_sidering")));
    running.child.kill().unwrap();
    running.said("drained");
    let foreign = place.sidering(&["run", "--config", "sidering.yaml", "--parent", "1"]);
    foreign.is(1, &["the parent has ended"]);
}

#[test]
fn a_socket_that_a_crash_left_behind_is_replaced() {
    let place = Place::new();
    let (mut crashed, _) = Running::start(&place);
    crashed.child.kill().unwrap();
    crashed.child.wait().unwrap();
    assert!(place.path("admin.sock").exists());
    let (running, _) = Running::start(&place);
    running.ask(&["wait"]).is(0, &[]);
}

#[test]
fn a_drained_sidecar_is_not_ready_and_stays_until_it_is_terminated() {
    let place = Place::new();
    let (running, _) = Running::start(&place);
    let said = running.ask(&["drain"]);
    said.is(0, &[]);
    assert_eq!(said.out, "drained\n");
    assert_eq!((&running.status()["draining"], &running.status()["ready"]), (&true.into(), &false.into()));
    running.ask(&["wait", "--timeout", "100ms"]).is(124, &["draining"]);
    running.signal("TERM");
    running.said("drained");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_ring_asked_for_by_name_and_refused_is_an_environment_error() {
    use std::os::unix::process::CommandExt;
    const DIRECTORY: &str = "SIDERING_TEST_WITHOUT_IO_URING";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        refuse_io_uring();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidering"));
        let error = command.args(["run", "--config", "sidering.yaml"]).current_dir(directory).exec();
        panic!("{error}");
    }
    let place = Place::new();
    place.write("sidering.yaml", &BOOTSTRAP.replace("driver: epoll", "driver: io_uring"));
    let name = "running::a_ring_asked_for_by_name_and_refused_is_an_environment_error";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(DIRECTORY, place.path(""));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("io_uring") && said.lines().count() == 1, "{said}");
}

/// From here on this thread, and what it becomes, cannot make a ring.
fn refuse_io_uring() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = std::collections::BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let refusal = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}
