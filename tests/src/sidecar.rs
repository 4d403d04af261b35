//! A sidecar as a child process of the real binary: a bootstrap file from a builder, ready when `start` returns,
//! everything it prints captured, its answers through the command line as an operator would ask for them.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::command::{Finished, run};
use crate::lines::Lines;
use crate::record::assert_says;
use crate::{Connection, Files, PATIENCE, Run, binary};

/// A bootstrap file in the making: a workload of namespace `default` unless told otherwise.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Of the workload, and its service account.
    pub name: String,
    /// Of the workload.
    pub namespace: String,
    /// Of the workload; at first `app: NAME`.
    pub labels: Vec<(String, String)>,
    /// Of the workload, and of the port that metrics are read from.
    pub address: IpAddr,
    /// Its files.
    pub identity: Files,
    /// Files or directories of Istio YAML.
    pub resources: Vec<PathBuf>,
    /// Driver and backend.
    pub run: Run,
    /// More lines of it.
    pub more: String,
    /// MeshConfig fields, inline.
    pub mesh: String,
    /// Where the bootstrap file and the admin socket go.
    pub directory: PathBuf,
}

/// A running sidecar; killed when dropped.
pub struct Sidecar {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    socket: PathBuf,
    stats: SocketAddr,
}

impl Bootstrap {
    /// Of the workload `name` at that address.
    pub fn new(run: Run, directory: &Path, name: &str, address: IpAddr, identity: &Files) -> Self {
        Self {
            name: name.into(),
            namespace: "default".into(),
            labels: vec![("app".into(), name.into())],
            address,
            identity: identity.clone(),
            resources: vec![directory.join("mesh")],
            run,
            more: String::new(),
            mesh: "{trustDomain: cluster.local, rootNamespace: istio-system}".into(),
            directory: directory.to_owned(),
        }
    }

    /// As YAML.
    pub fn yaml(&self) -> String {
        let Self { name, namespace, address, identity, run, more, mesh, .. } = self;
        let labels: Vec<_> = self.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let labels = labels.join(", ");
        let resources: Vec<_> = self.resources.iter().map(|path| format!("{path:?}")).collect();
        format!(
            "workload:\n  name: {name}-1\n  namespace: {namespace}\n  serviceAccount: {name}\n  \
             labels: {{{labels}}}\n  addresses: [{address}]\n\
             resources: [{}]\nmesh: {mesh}\n\
             identity:\n  files: {{certificate: {:?}, privateKey: {:?}, trustBundle: {:?}}}\n\
             tls: {{backend: {}}}\nruntime: {{driver: {}, workers: 1, pin: false}}\n\
             admin: {{socket: {:?}}}\nstats: {{address: \"{address}:15020\"}}\n\
             accessLog: {{path: /dev/stdout, format: json}}\n{more}",
            resources.join(", "),
            identity.certificate,
            identity.key,
            identity.bundle,
            run.backend,
            run.driver,
            self.socket(),
        )
    }

    /// Writes the bootstrap file and gives its path.
    pub fn write(&self) -> PathBuf {
        let path = self.directory.join(format!("{}.yaml", self.name));
        fs::write(&path, self.yaml()).expect("the test's directory takes files");
        path
    }

    fn socket(&self) -> PathBuf {
        self.directory.join(format!("{}.sock", self.name))
    }
}

impl Sidecar {
    /// Starts it and waits until it says that it is ready.
    #[track_caller]
    pub fn start(bootstrap: &Bootstrap) -> Self {
        let config = bootstrap.write();
        Self::start_file(&config, &bootstrap.name, &bootstrap.socket(), (bootstrap.address, 15020).into())
    }

    /// The same from a file that somebody else wrote.
    #[track_caller]
    pub fn start_file(config: &Path, name: &str, socket: &Path, stats: SocketAddr) -> Self {
        let mut command = Command::new(binary());
        command.args(["run", "--config"]).arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = Lines::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::read(child.stderr.take().expect("stderr is piped"));
        let sidecar = Self { name: name.into(), child, stdout, stderr, socket: socket.to_owned(), stats };
        sidecar.stderr.wait("that it is ready", |line| line.contains("ready").then_some(()));
        sidecar
    }

    /// Runs one that is expected not to start: its exit code and what it said.
    pub fn refused(bootstrap: &Bootstrap) -> Finished {
        let config = bootstrap.write();
        run(Command::new("timeout").arg("20").arg(binary()).args(["run", "--config"]).arg(config), b"")
    }

    /// `sidering ARGUMENTS --socket SOCKET -o json`.
    pub fn ask(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--socket").arg(&self.socket).args(["-o", "json"]);
        run(&mut command, b"")
    }

    /// `sidering status`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask(&["status"]).json()
    }

    /// The latest refusal, which is for that reason. Its peer may know before it is on record, so this asks again
    /// with each line of the access log.
    #[track_caller]
    pub fn refusal(&self, reason: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.stdout.count();
            let asked = self.ask(&["explain", "last"]);
            if asked.code == 0 && asked.json()["reason"] == reason {
                return asked.json();
            }
            let more = self.stdout.wait_beyond(printed, deadline);
            assert!(more, "{} has no {reason} on record: {}{}", self.name, asked.stdout, asked.stderr);
        }
    }

    /// The latest refusal, which is for that reason and says exactly that besides; `*` in a text stands for anything.
    #[track_caller]
    pub fn on_record(&self, reason: &str, mut rest: Value) {
        rest["reason"] = reason.into();
        assert_says(&self.refusal(reason), &rest);
    }

    /// The version of the snapshot that every core has acknowledged.
    #[track_caller]
    pub fn version(&self) -> u64 {
        self.status()["version"].as_u64().expect("status has a version")
    }

    /// Changes files, then waits until a newer snapshot is acknowledged.
    #[track_caller]
    pub fn reload(&self, change: impl FnOnce()) {
        let before = self.version();
        change();
        self.wait_status("a newer snapshot", |status| status["version"].as_u64() > Some(before));
    }

    /// Has it read everything anew and publish it, that many times, as an operator may over the admin socket.
    #[track_caller]
    pub fn publish_again(&self, times: usize) {
        let before = self.version();
        (0..times).for_each(|_| _ = self.publish_now());
        assert!(self.version() >= before + times as u64, "{} of {times}", self.version() - before);
    }

    /// The same once: what the files hold is in force when it returns, under the version that it returns.
    #[track_caller]
    pub fn publish_now(&self) -> u64 {
        let answer = self.admin("POST", "/reload");
        let version = answer.strip_prefix("snapshot ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        version.unwrap_or_else(|| panic!("{answer}"))
    }

    /// The body of what it answers over the admin socket, which is 200.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str) -> String {
        let mut admin = UnixStream::connect(&self.socket).expect("it has an admin socket");
        admin.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        admin.write_all(head.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        admin.read_to_string(&mut answer).expect("it answers");
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => body.to_owned(),
            _ => panic!("{method} {path}: {answer}"),
        }
    }

    /// Asks `status` again after each line that the sidecar prints, until the answer fits.
    #[track_caller]
    pub fn wait_status(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.stderr.count();
            let status = self.status();
            if fits(&status) {
                return status;
            }
            let more = self.stderr.wait_beyond(printed, deadline);
            assert!(more, "{} has not come to {what}: {status:#}\n{}", self.name, self.stderr.text());
        }
    }

    /// Waits until it presents the certificate with that serial.
    #[track_caller]
    pub fn wait_serial(&self, serial: &str) {
        self.wait_status(serial, |status| status["certificate"]["serial"] == serial);
    }

    /// Waits until the resources in force are not the newest, because of a problem that has that text.
    #[track_caller]
    pub fn wait_stale(&self, text: &str) -> Value {
        self.wait_status(text, |status| status["stale"].to_string().contains(text))
    }

    /// Waits until the newest resources are in force.
    #[track_caller]
    pub fn wait_current(&self) {
        self.wait_status("being current", |status| status["stale"].is_null());
    }

    /// The next line of the access log that fits.
    #[track_caller]
    pub fn logged(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.stdout.wait(what, |line| serde_json::from_str(line).ok().filter(&fits))
    }

    /// How many lines the access log has; for [`Sidecar::logged_since`].
    pub fn printed(&self) -> usize {
        self.stdout.count()
    }

    /// The same, of lines behind that many.
    #[track_caller]
    pub fn logged_since(&self, printed: usize, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.stdout.wait_from(printed, what, |line| serde_json::from_str(line).ok().filter(&fits))
    }

    /// Waits until it says that on standard error.
    #[track_caller]
    pub fn said(&self, text: &str) -> String {
        self.stderr.wait(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// The metrics, as Prometheus would scrape them.
    pub fn metrics(&self) -> String {
        let host = self.stats.to_string();
        let reply = Connection::to(self.stats).get(&host, "/stats/prometheus");
        assert_eq!(reply.status, 200);
        reply.text().to_owned()
    }

    /// The sum over the series of that name whose labels hold each of these texts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let of_that_name = rest.is_empty() || rest.starts_with('{');
            (of_that_name && labels.iter().all(|label| rest.contains(label)))
                .then(|| value.parse::<f64>().ok())?
        };
        self.metrics().lines().filter_map(sample).sum()
    }

    /// Scrapes until that sum is no less than `least`: a metric that grows prints no line to wait for.
    #[track_caller]
    pub fn wait_metric(&self, name: &str, labels: &[&str], least: f64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(name, labels) < least {
            assert!(Instant::now() < deadline, "{name} has not come to {least}:\n{}", self.metrics());
        }
    }

    /// SIGTERM, not waiting for what it does.
    pub fn signal_terminate(&self) {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]), b"").ok();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_exit(mut self) -> ExitStatus {
        self.stderr.wait_end(&self.name);
        self.child.wait().expect("a child can be waited for")
    }

    /// SIGTERM, then waits until it has ended.
    #[track_caller]
    pub fn terminate(self) -> ExitStatus {
        self.signal_terminate();
        self.wait_exit()
    }

    /// Runs `f` while it can open no more files, nor sockets: only the standard streams' numbers are allowed.
    pub fn without_files<T>(&self, f: impl FnOnce() -> T) -> T {
        let id = self.id().to_string();
        let limit = |limit: &str| run(Command::new("prlimit").args(["--pid", &id, limit]), b"").ok();
        limit("--nofile=3:");
        let result = f();
        limit("--nofile=1024:");
        result
    }

    /// Kilobytes of memory that it holds.
    pub fn resident(&self) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // One that has ended already is what some tests want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}{}", self.name, self.stderr.text(), self.stdout.text());
        }
    }
}
