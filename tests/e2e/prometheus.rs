//! Debian's Prometheus on a running pair: what configs/monitoring has for it, what it says of our metrics, what it gets
//! by scraping; and that peers cannot make it more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use sidering_tests::{
    Connection, HOST, PATIENCE, Pair, Run, Sidecar, allow, boring_epoll, curl, run as run_command,
    rustls_io_uring,
};

/// What Prometheus itself labels and counts.
const ITS_OWN: [&str; 3] = ["up", "instance", "job"];

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/monitoring").join(file)
}

fn promtool(arguments: &[&str], input: &str) -> (i32, String) {
    let told = run_command(Command::new("promtool").args(arguments), input.as_bytes());
    (told.code, told.stdout + &told.stderr)
}

#[test]
fn the_rules_and_the_configuration_are_sound() {
    for (what, file) in [("rules", "rules.yaml"), ("config", "prometheus.yaml")] {
        let (code, told) = promtool(&["check", what, &monitoring(file).to_string_lossy()], "");
        assert!(code == 0 && told.contains("SUCCESS"), "{told}");
    }
}

#[test]
fn prometheus_scrapes_both_rustls_io_uring() {
    prometheus_scrapes_both(rustls_io_uring());
}

#[test]
fn prometheus_scrapes_both_boring_epoll() {
    prometheus_scrapes_both(boring_epoll());
}

fn prometheus_scrapes_both(run: Run) {
    let pair = Pair::with(run).yaml("policy.yaml", allow("p", "to: [{operation: {paths: [/a]}}]")).start();
    let prometheus = Prometheus::start(&pair);
    assert_eq!((pair.get("/a").status, pair.get("/b").status), (200, 403));
    assert_eq!(Connection::to(pair.server_http()).get(HOST, "/a").status, 200);
    pair.tcp().send("x").expect_closed_without_a_byte();
    pair.client.wait_metric("istio_tcp_connections_closed_total", &[], 1.0);
    pair.server.wait_metric("istio_requests_total", &["403"], 1.0);
    pair.client.wait_metric("istio_requests_total", &["403"], 1.0);

    let told = [&pair.client, &pair.server].map(Sidecar::metrics);
    told.iter().for_each(|metrics| lint(metrics));
    prometheus.wait("count(up == 1)", "2");
    for reporter in ["source", "destination"] {
        let requests = format!("sum(istio_requests_total{{reporter=\"{reporter}\",response_code=\"403\"}})");
        prometheus.wait(&requests, "1");
    }

    let scraped = Scraped::of(&told);
    let mut checked = 0;
    for (expression, texts) in prometheus.rules().into_iter().chain(dashboard()) {
        scraped.has(&expression, &texts);
        prometheus.ask(&expression.replace("$__rate_interval", "10s").replace("$instance", ".*"));
        checked += 1;
    }
    println!("{run}: {checked} expressions, {} metrics", scraped.labels.len());
    assert!(checked > 25, "{checked}");
}

/// What `promtool check metrics` says of one scrape. It reads the older text format, in which a counter is declared by
/// the name that it is counted under. The one finding is a name of Istio's.
#[track_caller]
fn lint(metrics: &str) {
    let counters: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let older = |line: &str| {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                format!("# {what} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    let (code, told) = promtool(
        &["check", "metrics"],
        &metrics.lines().filter(|line| *line != "# EOF").map(older).collect::<String>(),
    );
    let found: Vec<&str> = told.lines().collect();
    assert_eq!(
        (code, found.as_slice()),
        (
            3,
            &["istio_request_duration_milliseconds use base unit \"seconds\" instead of \"milliseconds\""][..]
        )
    );
}

/// Expressions of the dashboard, each with what its legend shows.
fn dashboard() -> Vec<(String, String)> {
    let text = fs::read_to_string(monitoring("dashboard.json")).expect("the dashboard is there");
    let board: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = board["panels"].as_array().expect("it has panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("each shows something"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}

/// Names of metrics, each with its labels.
struct Scraped {
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Scraped {
    fn of(told: &[String]) -> Self {
        let mut labels = BTreeMap::<String, BTreeSet<String>>::new();
        for line in told.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#')) {
            let series = line.rsplit_once(' ').expect("a sample has a value").0;
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            labels.entry(name.to_owned()).or_default().extend(words(rest));
        }
        Self { labels }
    }

    /// Every metric of an expression, and every label that it and its texts name.
    #[track_caller]
    fn has(&self, expression: &str, texts: &str) {
        let named = words(expression);
        let ours = |name: &&String| ["sidering_", "istio_"].iter().any(|start| name.starts_with(start));
        let mut known: BTreeSet<&str> = ITS_OWN.into();
        for metric in named.iter().filter(ours) {
            let labels = self.labels.get(metric);
            let labels = labels.unwrap_or_else(|| panic!("{metric} is not scraped: {expression}"));
            known.extend(labels.iter().map(String::as_str));
        }
        for label in labels_of(expression).iter().chain(&labels_shown(texts)) {
            assert!(known.contains(label.as_str()), "{label} is no label of what is in {expression}");
        }
    }
}

/// Everything that could be a name; what is in quotes is none.
fn words(text: &str) -> Vec<String> {
    let outside: String = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    outside
        .split(|c| !name(c))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect()
}

/// Labels that are matched, or grouped by.
fn labels_of(expression: &str) -> Vec<String> {
    let within = |open: &str, close: char| -> Vec<String> {
        let parts = expression.split(open).skip(1);
        parts.flat_map(|part| words(part.split(close).next().unwrap_or_default())).collect()
    };
    [within("{", '}'), within("by (", ')')].concat()
}

/// Labels that a legend or an annotation shows.
fn labels_shown(texts: &str) -> Vec<String> {
    let shown = texts.split("{{").skip(1).map(|part| part.split("}}").next().unwrap_or_default().trim());
    let label = |shown: &str| match shown.strip_prefix('$') {
        Some(variable) => variable.strip_prefix("labels.").map(str::to_owned),
        None => Some(shown.to_owned()),
    };
    shown.filter_map(label).collect()
}

/// The real one, on an address of the test's own.
struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Scrapes both sidecars once a second, with the rules of configs/monitoring.
    fn start(pair: &Pair) -> Self {
        let at = pair.directory();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\n\
             scrape_configs:\n- job_name: sidering\n  metrics_path: /stats/prometheus\n  \
             static_configs: [{{targets: ['{}', '{}']}}]\n",
            monitoring("rules.yaml"),
            pair.subnet.address(1, 15020),
            pair.subnet.address(2, 15020),
        );
        fs::write(at.join("prometheus.yaml"), config).expect("the test's directory takes files");
        let address = pair.subnet.address(9, 9090);
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(at.join("prometheus.yaml"));
        command.arg("--storage.tsdb.path").arg(at.join("prometheus"));
        command.arg("--web.listen-address").arg(address.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|why| panic!("the tests need prometheus: {why}"));
        let stderr = process.stderr.take().expect("stderr is piped");
        let prometheus = Self { process, address };
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let ready = lines
            .by_ref()
            .inspect(|line| said.push(line.clone()))
            .any(|line| line.contains("Server is ready"));
        assert!(ready, "{said:#?}");
        // Read on: a full pipe would stop it.
        thread::spawn(move || lines.for_each(drop));
        prometheus
    }

    /// The result of a query.
    #[track_caller]
    fn ask(&self, query: &str) -> Value {
        let url = format!("http://{}/api/v1/query", self.address);
        let told = curl(&["--get", &url, "--data-urlencode", &format!("query={query}")]).json();
        assert_eq!(told["status"], "success", "{query}: {told}");
        told["data"]["result"].clone()
    }

    /// Asks until the one value is that.
    #[track_caller]
    fn wait(&self, query: &str, value: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.ask(query);
            if told[0]["value"][1] == value {
                return;
            }
            assert!(Instant::now() < deadline, "{query} has not come to {value}: {told}\n{}", self.ask("up"));
        }
    }

    /// The alert rules that it has, once it has evaluated them all: their expressions and annotations.
    #[track_caller]
    fn rules(&self) -> Vec<(String, String)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = curl(&[&format!("http://{}/api/v1/rules", self.address)]).json();
            let rules = told["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
            if !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok") {
                let text = |rule: &Value| rule["query"].as_str().expect("a rule has a query").to_owned();
                return rules.iter().map(|rule| (text(rule), rule["annotations"].to_string())).collect();
            }
            assert!(Instant::now() < deadline, "{told:#}");
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // One that has ended already is reaped all the same.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Requests by each way until every series is there. Far fewer than there may be, or their bound would hide that they grow.
const FEW: usize = 10;
/// Until what is kept of the newest refusals is full.
const BEFORE: usize = 2_500;
/// And while memory is watched.
const WATCHED: usize = 8_000;
/// Kilobytes that a sidecar may grow by meanwhile: 80 bytes for each request of the two ways through it. An entry of
/// whatever table, with a name, is more.
const ROOM: i64 = (2 * WATCHED * 80 / 1024) as i64;

#[test]
fn peers_make_no_series_and_no_memory_rustls_io_uring() {
    peers_make_no_series_and_no_memory(rustls_io_uring());
}

#[test]
fn peers_make_no_series_and_no_memory_boring_epoll() {
    peers_make_no_series_and_no_memory(boring_epoll());
}

fn peers_make_no_series_and_no_memory(run: Run) {
    let pair = Pair::start(run);
    // The last is a plaintext peer's: no route is in the way of its hosts.
    let mut ways = [
        (pair.http(), true, 200),
        (pair.http(), false, 404),
        (Connection::to(pair.server_http()), false, 200),
    ];
    let mut ask = |numbers: std::ops::Range<usize>| {
        thread::scope(|scope| {
            for (connection, own_host, status) in &mut ways {
                let numbers = numbers.clone();
                scope.spawn(move || {
                    for number in numbers {
                        let host =
                            format!("{number}.of-somebody-who-wants-to-be-counted-for-himself.example");
                        let path = format!("/of/somebody/who/wants/to/be/counted/for/himself/{number}");
                        let reply = connection.get(if *own_host { HOST } else { &host }, &path);
                        assert_eq!(reply.status, *status, "{number}");
                    }
                });
            }
        });
        [&pair.client, &pair.server].map(|sidecar| {
            let series = sidecar.metrics().lines().filter(|line| !line.starts_with('#')).count();
            (series, sidecar.resident())
        })
    };
    let few = ask(0..FEW);
    let before = ask(FEW..BEFORE);
    let after = ask(BEFORE..BEFORE + WATCHED);
    println!("{run}: (series, kilobytes) {few:?}, {before:?}, and {after:?} {} requests later", 3 * WATCHED);
    for ((few, before), after) in few.into_iter().zip(before).zip(after) {
        assert_eq!(few.0, after.0, "the series grew");
        assert!(after.1 - before.1 < ROOM, "from {} to {} kB", before.1, after.1);
    }
}
