//! `sidering check`: offline policy tests. The same Snapshot and deciding functions as the data path answer, and
//! `Effective` for what is asked of resources: nothing here decides anything itself.

mod expect;
mod inbound;
mod outbound;
mod question;
mod report;
mod suite;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sidering_control::read_file;
use sidering_istio::{Diagnostic, Findings, Node, Source, documents};

use crate::cli::Output;
use crate::failure::Failure;

use question::Question;
use suite::{Suite, Test};

/// What came out of a test.
struct Outcome {
    file: String,
    suite: String,
    name: String,
    question: &'static str,
    expected: Value,
    /// What came out, or why the question could not be answered.
    answer: Result<Answer, String>,
    /// One line for each key that differs.
    differences: Vec<String>,
}

/// Every key of the question's answer, and who decided.
struct Answer {
    actual: Map<String, Value>,
    origin: Option<String>,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.answer.is_ok() && self.differences.is_empty()
    }
}

/// Runs every test of every file.
pub(crate) fn check(files: &[PathBuf], junit: Option<&Path>, output: Output) -> Result<(), Failure> {
    let read =
        files.iter().map(|file| Ok((file, documents_of(file)?))).collect::<Result<Vec<_>, Failure>>()?;
    let mut suites: Vec<Suite<'_>> = Vec::new();
    let mut findings = Findings::default();
    for (file, documents) in &read {
        for document in documents {
            suites.push(Suite::read(file, document, &mut findings));
        }
    }
    let diagnostics = findings.into_sorted();
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(malformed(&diagnostics));
    }
    let outcomes: Vec<Outcome> = suites.iter().flat_map(run).collect();
    if outcomes.is_empty() {
        return Err(Failure::Configuration("there is no test: write `tests` into the files".to_owned()));
    }
    if let Some(path) = junit {
        let failed = |error| Failure::Configuration(format!("{}: {error}", path.display()));
        fs::write(path, report::junit(&outcomes)).map_err(failed)?;
    }
    report::print(&outcomes, output);
    match outcomes.iter().filter(|outcome| !outcome.passed()).count() {
        0 => Ok(()),
        1 => Err(Failure::Findings("1 test failed".to_owned())),
        n => Err(Failure::Findings(format!("{n} tests failed"))),
    }
}

fn documents_of(file: &Path) -> Result<Vec<Node>, Failure> {
    let name = file.display();
    let content = read_file(file).map_err(|error| Failure::Configuration(format!("{name}: {error}")))?;
    let source = Source::of(name.to_string().into(), &content);
    source.and_then(|source| documents(&source)).map_err(|diagnostic| malformed(&[diagnostic]))
}

fn malformed(diagnostics: &[Diagnostic]) -> Failure {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    Failure::Configuration(lines.join("\n"))
}

fn run<'s>(suite: &'s Suite<'_>) -> impl Iterator<Item = Outcome> + 's {
    suite.tests.iter().map(|test| {
        let answer = answer(suite, test);
        let differences = match &answer {
            Ok(answer) => expect::differences(&test.expect, &answer.actual),
            Err(_) => Vec::new(),
        };
        Outcome {
            file: suite.file.to_string(),
            suite: suite.name.clone(),
            name: test.name.clone(),
            question: test.question.name(),
            expected: Value::Object(test.expect.clone()),
            answer,
            differences,
        }
    })
}

fn answer(suite: &Suite<'_>, test: &Test<'_>) -> Result<Answer, String> {
    let world = || world::of(suite, test);
    match &test.question {
        Question::Mtls { workload } => Ok(inbound::mtls(&world()?, workload)),
        Question::Accept(asked) => inbound::accept(&world()?, asked),
        Question::Authorize(asked) => inbound::authorize(&world()?, asked),
        Question::Dial(asked) => outbound::dial(&world()?, asked),
        Question::Route(asked) => outbound::route(&world()?, asked),
        Question::Validate { object } => Ok(world::validate(&suite.file, object)),
    }
}
