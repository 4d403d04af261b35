//! A sidecar for the cases of one workload. Each case has its resources in a directory of its own; a link is swapped from
//! one to the next, so that nothing has to rest before it counts.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use sidering_tests::{Bootstrap, Files, Leaf, Pki, Run, Sidecar, Subnet};
use tempfile::TempDir;

use super::application::Application;
use super::client::{send, send_tls};
use super::inbound::Inbound;

pub(super) struct World {
    sidecar: Sidecar,
    application: Application,
    subnet: Subnet,
    certificates: HashMap<String, Files>,
    directory: TempDir,
}

/// What came of a case.
#[derive(Debug)]
pub(super) struct Wire {
    /// What reached the application.
    pub(super) seen: Option<String>,
    /// What came back.
    pub(super) reply: String,
    /// Null where there is none.
    pub(super) log: Value,
    /// Null where nothing was refused.
    pub(super) record: Value,
}

impl World {
    pub(super) fn start(run: Run, directory: &Path, subnet: Subnet, pki: &Pki, cases: &[Inbound]) -> Self {
        let directory = TempDir::new_in(directory).expect("there is room for a directory");
        let application = Application::start();
        for (number, case) in cases.iter().enumerate() {
            let resources = directory.path().join(number.to_string());
            fs::create_dir(&resources).expect("a directory can be made");
            fs::write(resources.join("case.yaml"), case.resources(application.address()))
                .expect("a file can be written");
        }
        symlink("0", directory.path().join("mesh")).expect("a link can be made");
        let issue = |principal: &str| {
            let leaf = Leaf::nameless().uri(&format!("spiffe://{principal}"));
            pki.issue(&principal.replace('/', "_"), &leaf)
        };
        let principals = cases.iter().filter_map(Inbound::principal);
        let certificates = principals.map(|principal| (principal.to_owned(), issue(principal))).collect();

        let case = &cases[0].case;
        let workload = &case.asked["workload"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, own) = (text(&workload["namespace"]), case.trust_domains()[0].to_owned());
        let files = issue(&format!("{own}/ns/{namespace}/sa/default"));
        let mut bootstrap = Bootstrap::new(run, directory.path(), "default", subnet.ip(2), &files);
        let labels = workload["labels"].as_object().into_iter().flatten();
        bootstrap.labels = labels.map(|(key, value)| (key.clone(), text(value))).collect();
        bootstrap.namespace = namespace;
        bootstrap.mesh = Value::Object(case.mesh.clone()).to_string();
        let sidecar = Sidecar::start(&bootstrap);
        Self { sidecar, application, subnet, certificates, directory }
    }

    /// Puts the resources of that case in force and sends its question.
    pub(super) fn ask(&self, number: usize, case: &Inbound) -> Wire {
        let next = self.directory.path().join("next");
        symlink(number.to_string(), &next).expect("a link can be made");
        fs::rename(next, self.directory.path().join("mesh")).expect("a link can be swapped");
        let version = self.sidecar.publish_now();
        self.application.take();
        let printed = self.sidecar.printed();

        // By its address a case knows what is said of it.
        let source = case.source.unwrap_or(self.subnet.ip(100 + (number % 100) as u8));
        let to = (case.destination, case.port).into();
        let reply = match &case.tls {
            Some(tls) => {
                let certificate = tls.principal.as_ref().map(|principal| &self.certificates[principal]);
                send_tls(source, to, tls, certificate, &case.bytes)
            }
            None => send(source, to, &case.bytes),
        };
        let is_source = |peer: &Value| {
            peer.as_str()
                .and_then(|peer| peer.rsplit_once(':'))
                .is_some_and(|(ip, _)| *ip == *source.to_string())
        };
        let log = || {
            let fits = |line: &Value| is_source(&line["downstream_remote_address"]);
            self.sidecar.logged_since(printed, &case.case.name, fits)
        };
        let record = || {
            let newest = self.sidecar.admin("GET", "/explain?last=3");
            let newest: Vec<Value> = serde_json::from_str(&newest).expect("records are a list");
            let ours =
                |record: &Value| is_source(&record["peer"]) && record["snapshot"].as_u64() >= Some(version);
            newest.into_iter().find(ours)
        };
        let seen = self.application.take();
        // What is no request at all is on record before it is answered, and leaves no line in the log.
        let (log, record) = match seen.as_ref().map_or_else(record, |_| None) {
            Some(record) => (Value::Null, record),
            None => (log(), record().unwrap_or_default()),
        };
        Wire { seen, reply, log, record }
    }
}
