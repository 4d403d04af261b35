//! The policy tables as the data path can be asked: each test with its resources, and what `sidering check` answers.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sidering_istio::{Node, Source, Value as Yaml, documents};
use sidering_tests::Subnet;

use crate::policy;

/// One test.
pub(super) struct Case {
    /// Its suite's, and its own.
    pub(super) name: String,
    pub(super) question: String,
    /// The question's input.
    pub(super) asked: Value,
    pub(super) objects: Vec<Value>,
    pub(super) mesh: Map<String, Value>,
    /// What `check` says.
    pub(super) actual: Value,
    /// Who decided, as `check` says it.
    pub(super) origin: String,
}

impl Case {
    /// What a sidecar is started with; equal for cases that can share one.
    pub(super) fn world(&self) -> String {
        json!([self.workload(), self.mesh]).to_string()
    }

    /// Whom the sidecar stands beside.
    pub(super) fn workload(&self) -> &Value {
        let key = if self.question == "dial" { "client" } else { "workload" };
        &self.asked[key]
    }

    /// The own one first.
    pub(super) fn trust_domains(&self) -> Vec<&str> {
        let own = self.mesh.get("trustDomain").and_then(Value::as_str).unwrap_or("cluster.local");
        let aliases = self.mesh.get("trustDomainAliases").and_then(Value::as_array);
        [own].into_iter().chain(aliases.into_iter().flatten().filter_map(Value::as_str)).collect()
    }

    /// Its own, and a Sidecar of the workload's namespace.
    pub(super) fn resources(&self, sidecar: &Value) -> String {
        let sidecar = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": "wire", "namespace": self.workload()["namespace"]},
            "spec": sidecar,
        });
        let documents: Vec<_> =
            self.objects.iter().chain([&sidecar]).map(|object| format!("{object}\n")).collect();
        documents.join("---\n")
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Every test that `check` can answer, with the test's own network for 10.0.0.0/24.
pub(super) fn cases(tables: &[PathBuf], directory: &Path, subnet: Subnet) -> Vec<Case> {
    let net = subnet.ip(0).to_string();
    let copies: Vec<(PathBuf, String)> = tables
        .iter()
        .enumerate()
        .map(|(number, table)| {
            let text = fs::read_to_string(table).expect("the tables are in the repository");
            let text = text.replace("10.0.0.", net.trim_end_matches('0'));
            let copy = directory.join(format!("{number}.test.yaml"));
            fs::write(&copy, &text).expect("the test's directory takes files");
            (copy, text)
        })
        .collect();
    let files: Vec<PathBuf> = copies.iter().map(|(copy, _)| copy.clone()).collect();
    let answers = policy::lines(&policy::check(&["-o", "json"], &files));
    let asked: Vec<Case> = copies.iter().flat_map(|(_, text)| tests(text)).collect();
    assert_eq!(asked.len(), answers.len());
    let answered = asked.into_iter().zip(answers).filter(|(_, answer)| answer["actual"].is_object());
    answered
        .map(|(case, answer)| {
            assert!(case.name.ends_with(answer["name"].as_str().unwrap_or("?")), "{answer} of {}", case.name);
            let origin = answer["origin"].as_str().unwrap_or_default().to_owned();
            Case { actual: answer["actual"].clone(), origin, ..case }
        })
        .collect()
}

fn tests(table: &str) -> Vec<Case> {
    let source = Source { file: "table".into(), text: table };
    let suites = documents(&source).expect("check has read it");
    suites.iter().map(value).flat_map(|suite| suite_tests(&suite)).collect()
}

fn suite_tests(suite: &Value) -> Vec<Case> {
    let list = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let map = |of: &Value| of["mesh"].as_object().cloned().unwrap_or_default();
    let tests = list(suite, "tests");
    let case = |test: &Value| {
        let (question, asked) = ["mtls", "accept", "authorize", "dial", "route", "validate"]
            .iter()
            .find_map(|question| Some((question, test.get(question)?)))
            .expect("check has found a question");
        Case {
            name: format!(
                "{}: {}",
                suite["suite"].as_str().unwrap_or("-"),
                test["name"].as_str().unwrap_or("-")
            ),
            question: (*question).into(),
            asked: asked.clone(),
            objects: [list(suite, "objects"), list(test, "objects")].concat(),
            mesh: map(suite).into_iter().chain(map(test)).collect(),
            actual: Value::Null,
            origin: String::new(),
        }
    };
    tests.iter().map(case).collect()
}

/// As JSON, which is YAML too.
fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect(),
        Yaml::List(items) => items.iter().map(value).collect(),
        Yaml::Scalar { .. } if node.is_null() => Value::Null,
        Yaml::Scalar { text, .. } => match node.kind() {
            "a string" => json!(text),
            _ => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        },
    }
}
