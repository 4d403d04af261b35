//! What is said about tests that ran.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Outcome;
use crate::cli::Output;

pub(super) fn print(outcomes: &[Outcome], output: Output) {
    match output {
        Output::Json => outcomes.iter().for_each(|outcome| println!("{}", line(outcome))),
        Output::Text => {
            for outcome in outcomes.iter().filter(|outcome| !outcome.passed()) {
                println!("FAILED {}: {}: {}", outcome.file, title(outcome), outcome.question);
                println!("{}", indented(&details(outcome)));
            }
            let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
            println!("{passed} passed, {} failed", outcomes.len() - passed);
        }
    }
}

fn title(outcome: &Outcome) -> String {
    if outcome.suite.is_empty() {
        outcome.name.clone()
    } else {
        format!("{}: {}", outcome.suite, outcome.name)
    }
}

/// Why a test failed.
fn details(outcome: &Outcome) -> String {
    match &outcome.answer {
        Err(error) => error.clone(),
        Ok(answer) => {
            let mut text = outcome.differences.join("\n");
            if let Some(origin) = &answer.origin {
                let _ = write!(text, "\ndecided by {origin}");
            }
            text
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn line(outcome: &Outcome) -> Value {
    let mut object = json!({
        "file": outcome.file,
        "suite": outcome.suite,
        "name": outcome.name,
        "question": outcome.question,
        "ok": outcome.passed(),
        "expected": outcome.expected,
    });
    match &outcome.answer {
        Ok(answer) => {
            object["actual"] = Value::Object(answer.actual.clone());
            object["origin"] = json!(answer.origin);
        }
        Err(error) => object["error"] = json!(error),
    }
    object
}

/// One suite element for each suite that was written.
pub(super) fn junit(outcomes: &[Outcome]) -> String {
    let failed = |list: &[Outcome]| list.iter().filter(|outcome| !outcome.passed()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{}\" failures=\"{}\">\n",
        outcomes.len(),
        failed(outcomes)
    );
    for suite in outcomes.chunk_by(|a, b| (&a.file, &a.suite) == (&b.file, &b.suite)) {
        let first = &suite[0];
        let name = if first.suite.is_empty() { &first.file } else { &first.suite };
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" file=\"{}\" tests=\"{}\" failures=\"{}\">",
            escaped(name),
            escaped(&first.file),
            suite.len(),
            failed(suite)
        );
        for outcome in suite {
            let _ = write!(
                text,
                "    <testcase name=\"{}\" classname=\"{}\"",
                escaped(&outcome.name),
                outcome.question
            );
            if outcome.passed() {
                text.push_str("/>\n");
            } else {
                let details = escaped(&details(outcome));
                let _ = writeln!(text, ">\n      <failure>{details}</failure>\n    </testcase>");
            }
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
