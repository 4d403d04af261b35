//! Sends the question of an inbound case, and gathers what came of it: at the application, at the client, in the access
//! log and on record.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use sidering_tests::{Files, Leaf, Pki, Run, Subnet};

use super::application::Application;
use super::client::{send, send_tls};
use super::inbound::Inbound;
use super::world::World;

pub(super) struct Exchange {
    world: World,
    application: Application,
    subnet: Subnet,
    certificates: HashMap<String, Files>,
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

impl Exchange {
    pub(super) fn start(run: Run, directory: &Path, subnet: Subnet, pki: &Pki, cases: &[Inbound]) -> Self {
        let application = Application::start();
        let resources = cases.iter().map(|case| case.resources(application.address()));
        let world = World::start(run, directory, subnet, pki, &cases[0].case, resources);
        let issue = |principal: &str| {
            let leaf = Leaf::nameless().uri(&format!("spiffe://{principal}"));
            (principal.to_owned(), pki.issue(&principal.replace('/', "_"), &leaf))
        };
        let certificates = cases.iter().filter_map(Inbound::principal).map(issue).collect();
        Self { world, application, subnet, certificates }
    }

    pub(super) fn ask(&self, number: usize, case: &Inbound) -> Wire {
        let version = self.world.turn_to(number);
        self.application.take();
        let printed = self.world.sidecar.printed();

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
            let ip = peer.as_str().and_then(|peer| peer.rsplit_once(':')).map(|(ip, _)| ip);
            ip == Some(&*source.to_string())
        };
        let log = || {
            let fits = |line: &Value| is_source(&line["downstream_remote_address"]);
            self.world.sidecar.logged_since(printed, &case.case.name, fits)
        };
        let record = || self.world.records(version).find(|record| is_source(&record["peer"]));
        let seen = self.application.take();
        // What is no request at all is on record before it is answered, and leaves no line in the log.
        let (log, record) = match seen.as_ref().map_or_else(record, |_| None) {
            Some(record) => (Value::Null, record),
            None => (log(), record().unwrap_or_default()),
        };
        Wire { seen, reply, log, record }
    }
}
