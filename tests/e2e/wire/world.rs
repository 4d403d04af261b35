//! A sidecar for the cases of one workload. Each case has its resources in a directory of its own; a link is swapped from
//! one to the next, so that nothing has to rest before it counts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use sidering_tests::{Bootstrap, Leaf, Pki, Run, Sidecar, Subnet};
use tempfile::TempDir;

use super::table::{Case, text};

/// Host number of the sidecar; no table has it.
pub(super) const OWN: u8 = 200;

pub(super) struct World {
    pub(super) sidecar: Sidecar,
    directory: TempDir,
}

impl World {
    /// For cases like that one, with these resources.
    pub(super) fn start(
        run: Run,
        directory: &Path,
        subnet: Subnet,
        pki: &Pki,
        case: &Case,
        resources: impl Iterator<Item = String>,
    ) -> Self {
        let directory = TempDir::new_in(directory).expect("there is room for a directory");
        for (number, resources) in resources.enumerate() {
            let own = directory.path().join(number.to_string());
            fs::create_dir(&own).expect("a directory can be made");
            fs::write(own.join("case.yaml"), resources).expect("a file can be written");
        }
        symlink("0", directory.path().join("mesh")).expect("a link can be made");

        let namespace = text(&case.workload()["namespace"]).unwrap_or_default();
        let own =
            Leaf::nameless().uri(&format!("spiffe://{}/ns/{namespace}/sa/default", case.trust_domains()[0]));
        let mut bootstrap =
            Bootstrap::new(run, directory.path(), "default", subnet.ip(OWN), &pki.issue("own", &own));
        let labels = case.workload()["labels"].as_object().into_iter().flatten();
        bootstrap.labels =
            labels.map(|(key, value)| (key.clone(), text(value).unwrap_or_default())).collect();
        bootstrap.namespace = namespace;
        bootstrap.mesh = Value::Object(case.mesh.clone()).to_string();
        Self { sidecar: Sidecar::start(&bootstrap), directory }
    }

    /// Puts the resources of that case in force, under the version that it returns.
    pub(super) fn turn_to(&self, number: usize) -> u64 {
        let next = self.directory.path().join("next");
        symlink(number.to_string(), &next).expect("a link can be made");
        fs::rename(next, self.directory.path().join("mesh")).expect("a link can be swapped");
        self.sidecar.publish_now()
    }

    /// The latest refusals since that version, newest first.
    pub(super) fn records(&self, version: u64) -> impl Iterator<Item = Value> + use<> {
        let newest = self.sidecar.admin("GET", "/explain?last=3");
        let newest: Vec<Value> = serde_json::from_str(&newest).expect("records are a list");
        newest.into_iter().filter(move |record| record["snapshot"].as_u64() >= Some(version))
    }
}
