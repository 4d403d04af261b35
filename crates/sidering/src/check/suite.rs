//! A test file as it is written: suites, each with resources and tests. Whatever is not known is refused with its line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use sidering_istio::{Fields, Findings, MeshConfig, Node, Reader, Severity};

use super::expect;
use super::question::{self, Question};

/// One YAML document.
pub(super) struct Suite<'n> {
    pub(super) file: Arc<str>,
    pub(super) name: String,
    /// Names and texts of the files that are included.
    pub(super) included: Vec<(String, String)>,
    pub(super) objects: Vec<&'n Node>,
    pub(super) tests: Vec<Test<'n>>,
}

/// One question and what must come out.
pub(super) struct Test<'n> {
    pub(super) name: String,
    pub(super) objects: Vec<&'n Node>,
    pub(super) mesh: MeshConfig,
    pub(super) question: Question<'n>,
    pub(super) expect: Map<String, Value>,
}

impl<'n> Suite<'n> {
    pub(super) fn read(file: &Path, document: &'n Node, findings: &mut Findings) -> Self {
        let name: Arc<str> = file.display().to_string().into();
        let mut reader = Reader { file: name.clone(), unknown: Severity::Error, findings };
        let r = &mut reader;
        let mut f = r.fields(document, "suite");
        let title = f.get("suite").and_then(|n| r.string(n, "suite")).unwrap_or_default().to_owned();
        let included = f.get("include").map(|n| read_included(n, file, r)).unwrap_or_default();
        let objects = read_objects(&mut f, r);
        let mut mesh = MeshConfig::default();
        if let Some(n) = f.get("mesh") {
            mesh.read(n, r);
        }
        let tests = f.get("tests").map(|n| r.list(n, "tests")).unwrap_or_default();
        f.done(r);
        let tests = tests.iter().filter_map(|test| read_test(test, &mesh, r)).collect();
        Self { file: name, name: title, included, objects, tests }
    }
}

fn read_objects<'n>(f: &mut Fields<'n>, r: &mut Reader<'_>) -> Vec<&'n Node> {
    f.get("objects").map(|n| r.list(n, "objects")).unwrap_or_default().iter().collect()
}

/// Files and directories, relative to the test file.
fn read_included(node: &Node, file: &Path, r: &mut Reader<'_>) -> Vec<(String, String)> {
    let base = file.parent().unwrap_or(Path::new(""));
    let mut included = Vec::new();
    for (text, at) in r.texts(node, "include") {
        match sidering_control::read_resources(&[PathBuf::from(base).join(text)]) {
            Ok(files) => included.extend(files),
            Err(error) => r.error(at, format!("{text:?} cannot be included: {error}")),
        }
    }
    included
}

fn read_test<'n>(node: &'n Node, mesh: &MeshConfig, r: &mut Reader<'_>) -> Option<Test<'n>> {
    let mut f = r.fields(node, "test");
    let name = match f.get("name") {
        Some(n) => r.text(n, "name").unwrap_or_default().to_owned(),
        None => {
            r.error(node, "a test needs a `name`");
            String::new()
        }
    };
    let objects = read_objects(&mut f, r);
    let mut mesh = mesh.clone();
    if let Some(n) = f.get("mesh") {
        mesh.read(n, r);
    }
    let question = question::read(&mut f, node, r);
    let expected = f.get("expect");
    f.done(r);
    if expected.is_none() {
        r.error(node, "a test needs `expect`");
    }
    let question = question?;
    let expect = expect::read(expected?, question.name(), r);
    Some(Test { name, objects, mesh, question, expect })
}
