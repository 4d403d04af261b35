//! `/status`: whether everything the operator wrote is in force, and if not, which line is to blame.

use serde_json::{Map, Value, json};
use sidering_identity::read_leaf;
use sidering_istio::{Action, Authentication, DecidedMode, Effective};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::state::State;

/// Everything, for programs. `version` is the snapshot that every core has acknowledged.
pub(super) fn json(state: &State) -> Value {
    let data_path = state.setup.proxy.status();
    let resources = state.resources();
    let identity = state.identity();
    let leaf = read_leaf(&identity.credentials.chain.certificates[0]).ok();
    let mut warnings = state.setup.warnings.clone();
    warnings.extend(resources.warnings);
    let unready = state.unready();
    json!({
        "ready": unready.is_none(),
        "unready": unready,
        "draining": state.is_draining(),
        "version": data_path.snapshot,
        "published": data_path.published,
        "since": rfc3339(resources.since.into()),
        "stale": if resources.problems.is_empty() { Value::Null } else { json!(resources.problems) },
        "warnings": warnings,
        "workload": {
            "name": &*state.setup.workload.name,
            "namespace": &*state.setup.workload.namespace,
            "serviceAccount": &*state.setup.workload.service_account,
            "id": state.setup.id.as_str(),
        },
        "driver": data_path.driver,
        "driverReason": state.setup.driver,
        "backend": data_path.backend,
        "certificate": {
            "version": identity.credentials.version,
            "source": &*identity.credentials.source,
            "serial": leaf.as_ref().map(|leaf| leaf.serial.as_str()),
            "names": leaf.as_ref().map(|leaf| leaf.uris.as_slice()),
            "notAfter": leaf.as_ref().and_then(|leaf| OffsetDateTime::from_unix_timestamp(leaf.not_after).ok()).map(rfc3339),
            "stale": identity.problem,
        },
        "authentication": authentication(resources.effective.authentication()),
        "policies": policies(&resources.effective),
        "listeners": data_path.listeners,
        "deaf": data_path.deaf,
        "cores": data_path.cores,
    })
}

/// Which mutual TLS is taken, in general and by port, and who said so.
fn authentication(decided: &Authentication) -> Value {
    let mode =
        |decided: &DecidedMode| json!({"mode": decided.mode.to_string(), "by": decided.by.to_string()});
    let ports = decided.ports.iter().map(|(port, decided)| (port.to_string(), mode(decided)));
    json!({"default": mode(&decided.mode), "ports": ports.collect::<Map<_, _>>()})
}

/// The AuthorizationPolicies that select this workload, by action.
fn policies(effective: &Effective) -> Value {
    let named = |action| effective.in_force(action).iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({"deny": named(Action::Deny), "allow": named(Action::Allow), "custom": named(Action::Custom)})
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
    let condition = status["unready"].as_str().unwrap_or("ready");
    let mut lines = vec![
        format!("{condition}: {}", word("/workload/id")),
        format!("snapshot {} since {}", word("/version"), word("/since")),
        format!(
            "driver {}, tls {}, {} core(s)",
            word("/driverReason"),
            word("/backend"),
            list("/cores").len()
        ),
        format!(
            "certificate {} from {}, until {}",
            word("/certificate/serial"),
            word("/certificate/source"),
            word("/certificate/notAfter")
        ),
    ];
    for listener in list("/listeners") {
        lines.push(format!("listens on {} ({})", line(&listener["address"]), line(&listener["name"])));
    }
    lines.extend(list("/deaf").iter().map(|lost| format!("NOT LISTENING: {}", line(lost))));
    let late = |(_, core): &(usize, Value)| core["snapshot"] != status["published"];
    for (number, core) in list("/cores").into_iter().enumerate().filter(late) {
        lines.push(format!(
            "BEHIND: core {number} has snapshot {}, {} was published",
            core["snapshot"],
            word("/published")
        ));
    }
    let decided = |value: &Value| format!("{} by {}", line(&value["mode"]), line(&value["by"]));
    lines.push(format!("mutual TLS: {}", decided(&status["authentication"]["default"])));
    for (port, mode) in
        status.pointer("/authentication/ports").and_then(Value::as_object).into_iter().flatten()
    {
        lines.push(format!("mutual TLS on port {port}: {}", decided(mode)));
    }
    for action in ["deny", "allow", "custom"] {
        lines.extend(
            list(&format!("/policies/{action}")).iter().map(|policy| format!("{action}: {}", line(policy))),
        );
    }
    for problem in list("/stale") {
        lines.push(format!("STALE: resources refused: {}", line(&problem)));
    }
    if let Some(problem) = status.pointer("/certificate/stale").filter(|problem| !problem.is_null()) {
        lines.push(format!("STALE: credentials refused: {}", line(problem)));
    }
    lines.extend(list("/warnings").iter().map(|warning| format!("warning: {}", line(warning))));
    lines.join("\n")
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
