//! `sidering lint`: every diagnostic of a set of Istio resources, without a running sidecar.

use std::path::PathBuf;

use sidering_control::read_resources;
use sidering_istio::{Diagnostic, Source, parse};

use crate::cli::Output;
use crate::failure::Failure;

/// Prints the findings, as file:line:col. Warnings are findings too.
pub(crate) fn lint(paths: &[PathBuf], output: Output) -> Result<(), Failure> {
    let files = read_resources(paths).map_err(|failure| Failure::Configuration(failure.to_string()))?;
    let sources: Vec<Source<'_>> =
        files.iter().map(|(file, text)| Source { file: file.as_str().into(), text }).collect();
    let (_, diagnostics) = parse(&sources);
    match output {
        Output::Text => diagnostics.iter().for_each(|diagnostic| println!("{diagnostic}")),
        Output::Json => println!("{:#}", diagnostics.iter().map(json).collect::<serde_json::Value>()),
    }
    match diagnostics.len() {
        0 => Ok(()),
        1 => Err(Failure::Findings("1 finding".to_owned())),
        n => Err(Failure::Findings(format!("{n} findings"))),
    }
}

fn json(diagnostic: &Diagnostic) -> serde_json::Value {
    serde_json::json!({
        "file": &*diagnostic.position.file,
        "line": diagnostic.position.line,
        "column": diagnostic.position.column,
        "severity": diagnostic.severity.to_string(),
        "message": diagnostic.message,
    })
}
