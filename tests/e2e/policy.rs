//! The rules of Istio as tables: `sidering check` over samples/ (given) and over the project's own files, one for each
//! section of the semantics.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sidering_tests::{Finished, binary, run};

/// Samples of what VirtualService does not do yet.
const NOT_YET: &[&str] = &[
    "a rewritten path keeps the query",
    "an allowed origin is named in the reply",
    "one query parameter among others",
    "a query parameter that is merely present",
    "the query is kept",
    "the request's port is added when it is not the default one",
];

fn tables(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(&directory).expect("the tables are in the repository");
    let files = entries.map(|entry| entry.expect("a directory can be listed").path());
    let mut tables: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    tables.sort();
    assert!(!tables.is_empty(), "{}", directory.display());
    tables
}

fn check(arguments: &[&str], files: &[PathBuf]) -> Finished {
    run(Command::new(binary()).arg("check").args(arguments).args(files), b"")
}

/// Each test's line.
fn lines(finished: &Finished) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    finished.stdout.lines().map(parse).collect()
}

#[test]
fn every_sample_passes_but_those_of_traffic_rules_to_come() {
    let lines = lines(&check(&["-o", "json"], &tables("policy/samples")));
    let name = |line: &Value| line["name"].as_str().map(str::to_owned);
    let failed: BTreeSet<String> = lines.iter().filter(|line| line["ok"] != true).filter_map(name).collect();
    assert_eq!(failed, NOT_YET.iter().map(ToString::to_string).collect());
    assert_eq!(lines.len(), 145);
}

#[test]
fn every_table_passes() {
    let finished = check(&[], &tables("policy"));
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains(" passed, 0 failed"), "{}", finished.stdout);
}

#[test]
fn an_answer_holds_every_key_whatever_was_expected() {
    for line in lines(&check(&["-o", "json"], &tables("policy/samples"))) {
        let keys: BTreeSet<&str> = match &line["actual"] {
            Value::Object(actual) => actual.keys().map(String::as_str).collect(),
            _ => continue,
        };
        let wanted = match line["question"].as_str() {
            Some("mtls") => "by mode ports trustDomains",
            Some("accept") => "handling protocol reason",
            Some("authorize") => "action allowed by inForce wouldDeny",
            Some("dial") => "alpn endpoints handling protocol ruleTls rules sans sni subsets tls waits",
            Some("route") => {
                "absentHeaders attempts by destinations host location port responseHeaders route status subset \
                 timeout upstreamHeaders upstreamHost upstreamPath"
            }
            _ => "errors valid warnings",
        };
        assert_eq!(keys, wanted.split_whitespace().collect(), "{line}");
    }
}
