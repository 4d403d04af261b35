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

pub(crate) fn tables(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(&directory).expect("the tables are in the repository");
    let files = entries.map(|entry| entry.expect("a directory can be listed").path());
    let mut tables: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    tables.sort();
    assert!(!tables.is_empty(), "{}", directory.display());
    tables
}

pub(crate) fn check(arguments: &[&str], files: &[PathBuf]) -> Finished {
    run(Command::new(binary()).arg("check").args(arguments).args(files), b"")
}

/// Each test's line.
pub(crate) fn lines(finished: &Finished) -> Vec<Value> {
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

/// Fields of Istio 1.31's CRD schemas: kind, path and type. What a policy holds is listed where it stands first.
const FIELDS: &str = include_str!("../policy/fields.txt");

/// How a field is treated, by what is said of a resource that sets nothing else.
#[derive(Debug, PartialEq, Eq)]
enum Treated {
    Done,
    Decided,
    Refused,
    Unknown,
}

/// A resource with one field, on one line.
fn with_field(kind: &str, path: &str, value: &str) -> String {
    let networking = ["DestinationRule", "ServiceEntry", "WorkloadEntry"].contains(&kind);
    let group = if networking { "networking" } else { "security" };
    let spec = path.rsplit('.').fold(value.to_owned(), |inside, part| match part.strip_suffix("[]") {
        _ if part == "*" => format!("{{8080: {inside}}}"),
        Some(list) => format!("{{{list}: [{inside}]}}"),
        // What is not used is not judged.
        None if part == "tls" && !path.ends_with("tls.mode") && inside != "{}" => {
            format!("{{tls: {{mode: SIMPLE, {}}}", &inside[1..])
        }
        None => format!("{{{part}: {inside}}}"),
    });
    format!(
        "{{apiVersion: {group}.istio.io/v1, kind: {kind}, metadata: {{name: f, namespace: shop}}, spec: {spec}}}"
    )
}

fn treated(path: &str, said: &[&str]) -> Treated {
    let names = || path.split('.').map(|part| part.trim_end_matches("[]"));
    let says = |text: &str| said.iter().any(|line| line.contains(text));
    if says("unknown field") {
        Treated::Unknown
    } else if names().any(|name| says(&format!("`{name}` of")) && says("decided, not executed")) {
        Treated::Decided
    } else if says("is not supported") {
        Treated::Refused
    } else {
        Treated::Done
    }
}

/// The page names each field, or the one that holds it, in the section of its kind, on a row that says how it is treated.
#[test]
fn the_compatibility_page_is_in_step_with_every_field() {
    let fields: Vec<(&str, &str, &str)> = FIELDS
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("a line has three words");
            (word(), word(), word())
        })
        .collect();
    let documents: Vec<String> = fields
        .iter()
        .map(|(kind, path, r#type)| {
            let value = match *r#type {
                _ if path.ends_with(".key") => "source.ip",
                "integer" | "number" => "1",
                "boolean" => "true",
                "array" => "[]",
                "object" => "{}",
                _ => "x",
            };
            with_field(kind, path, value)
        })
        .collect();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("fields.yaml");
    fs::write(&file, documents.join("\n---\n")).expect("a file can be written");
    let finished = run(Command::new(binary()).args(["lint", "-o", "json"]).arg(&file), b"");
    let said = finished.json();
    let said = said.as_array().expect("lint prints a list");

    let page = include_str!("../../docs/compatibility.md");
    let section = |kind: &str| {
        let names = |section: &&str| {
            section.lines().next().is_some_and(|title| title.split(", ").any(|name| name == kind))
        };
        page.split("\n## ").find(names).unwrap_or_else(|| panic!("{kind} has no section"))
    };
    let mut wrong = Vec::new();
    for (index, (kind, path, _)) in fields.iter().enumerate() {
        let line = 2 * index as u64 + 1;
        let about: Vec<&str> =
            said.iter().filter(|one| one["line"] == line).filter_map(|one| one["message"].as_str()).collect();
        let treated = treated(path, &about);
        let names: Vec<&str> = path.split('.').map(|part| part.trim_end_matches("[]")).collect();
        let row = names.iter().rev().find_map(|name| {
            section(kind).lines().find(|row| {
                let cell = row.split('|').nth(1).unwrap_or_default();
                cell.split('`')
                    .skip(1)
                    .step_by(2)
                    .any(|code| code.split(['.', ' ', ':', '[']).any(|word| word == *name))
            })
        });
        let says = match &treated {
            Treated::Done => "done",
            Treated::Decided => "decided, not executed",
            Treated::Refused => "refused",
            Treated::Unknown => "not known",
        };
        if !row.is_some_and(|row| row.contains(says) || row.contains("differs")) {
            wrong.push(format!("{kind} {path}: {treated:?}, and the page says {row:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
