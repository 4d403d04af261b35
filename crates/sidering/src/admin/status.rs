//! `/status`: whether everything the operator wrote is in force, and if not, which line is to blame.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::state::State;

/// Everything, for programs. `version` is the snapshot that every core has acknowledged.
pub(super) fn json(state: &State) -> Value {
    let data_path = state.proxy.status();
    let resources = state.resources();
    let identity = state.identity();
    let since = OffsetDateTime::from(resources.since).format(&Rfc3339).unwrap_or_default();
    let mut warnings = state.warnings.clone();
    warnings.extend(resources.warnings);
    json!({
        "ready": state.is_ready(),
        "draining": state.is_draining(),
        "version": data_path.snapshot,
        "workload": {
            "name": &*state.workload.name,
            "namespace": &*state.workload.namespace,
            "serviceAccount": &*state.workload.service_account,
            "id": state.id.as_str(),
        },
        "driver": data_path.driver,
        "driverReason": state.driver,
        "backend": data_path.backend,
        "resources": {
            "stale": !resources.problems.is_empty(),
            "problems": resources.problems,
            "rejected": resources.rejected,
            "since": since,
            "warnings": warnings,
        },
        "credentials": {
            "version": identity.credentials.version,
            "source": &*identity.credentials.source,
            "stale": identity.problem.is_some(),
            "problem": identity.problem,
            "rejected": identity.rejected,
        },
        "listeners": data_path.listeners,
        "cores": data_path.cores,
    })
}

/// The same for people, from the same value.
pub(super) fn text(status: &Value) -> String {
    let word = |pointer: &str| match status.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let list = |pointer: &str| status.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let line = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let condition = match (status["ready"] == true, status["draining"] == true) {
        (_, true) => "draining",
        (true, false) => "ready",
        (false, false) => "starting",
    };
    let mut lines = vec![
        format!("{condition}: {}", word("/workload/id")),
        format!("snapshot {} since {}", word("/version"), word("/resources/since")),
        format!(
            "driver {}, tls {}, {} core(s)",
            word("/driverReason"),
            word("/backend"),
            list("/cores").len()
        ),
        format!("credentials {} from {}", word("/credentials/version"), word("/credentials/source")),
    ];
    for listener in list("/listeners") {
        lines.push(format!("listens on {} ({})", line(&listener["address"]), line(&listener["name"])));
    }
    for problem in list("/resources/problems") {
        lines.push(format!("STALE: resources refused: {}", line(&problem)));
    }
    if let Some(problem) = status.pointer("/credentials/problem").filter(|problem| !problem.is_null()) {
        lines.push(format!("STALE: credentials refused: {}", line(problem)));
    }
    lines.extend(list("/resources/warnings").iter().map(|warning| format!("warning: {}", line(warning))));
    lines.join("\n")
}
