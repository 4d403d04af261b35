//! What a record of a refusal has to say, and nothing else: a test names every part, and a part that it does not name
//! must be missing.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

/// A record of a connection, and `rest` of it.
pub fn record(direction: &str, phase: &str, peer: &str, destination: SocketAddr, rest: Value) -> Value {
    let mut record = json!({"direction": direction, "phase": phase, "listener": "*", "peer": peer, "destination": destination});
    if let (Value::Object(record), Value::Object(rest)) = (&mut record, rest) {
        record.extend(rest);
    }
    record
}

/// A request as records show it.
pub fn asked(method: &str, host: &str, path: &str) -> Value {
    json!({"method": method, "host": host, "path": path})
}

/// Where it was decided: `at` is FILE:LINE:COLUMN in the mesh's directory, or empty where Istio's default decided.
pub fn origin(kind: &str, label: &str, at: &str) -> Value {
    let position = if at.is_empty() { Value::Null } else { format!("*/mesh/{at}").into() };
    json!({"kind": kind, "label": label, "position": position})
}

/// Parts that every record has, and that differ from one time to the next.
const ALWAYS: [&str; 3] = ["id", "time", "snapshot"];

/// What `explain` adds to a record; tests of their own are about it.
const SAID: [&str; 3] = ["remedies", "refused_now", "asked_of_snapshot"];

/// Asserts that `record` says exactly what is expected. In a text `*` stands for anything, alone even for a number.
#[track_caller]
pub(crate) fn assert_says(record: &Value, expected: &Value) {
    let mut told = record.clone();
    for part in ALWAYS {
        let value = told.as_object_mut().and_then(|told| told.remove(part));
        assert!(value.is_some_and(|value| value.as_u64() > Some(0)), "no {part}: {record:#}");
    }
    SAID.iter().for_each(|part| _ = told.as_object_mut().and_then(|told| told.remove(*part)));
    // Of every connection that had begun to speak.
    if let Some(sniffed) = told.as_object_mut().and_then(|told| told.remove("sniffed")) {
        let known = sniffed.is_null() || ["raw", "tls"].iter().any(|kind| sniffed["transport"] == *kind);
        assert!(known && (sniffed.is_null() || sniffed["protocols"].is_array()), "{record:#}");
    }
    assert!(says(&told, expected), "expected {expected:#}\nbut it says {record:#}");
}

fn says(told: &Value, expected: &Value) -> bool {
    match (told, expected) {
        (told, Value::String(star)) if star == "*" => !told.is_null(),
        (Value::String(told), Value::String(expected)) => fits(told, expected),
        (Value::Array(told), Value::Array(expected)) => {
            told.len() == expected.len()
                && told.iter().zip(expected).all(|(told, expected)| says(told, expected))
        }
        (Value::Object(told), Value::Object(expected)) => all_say(told, expected),
        (told, expected) => told == expected,
    }
}

fn all_say(told: &Map<String, Value>, expected: &Map<String, Value>) -> bool {
    let unnamed = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    told.iter()
        .all(|(part, value)| expected.get(part).map_or(unnamed(value), |expected| says(value, expected)))
        && expected.keys().all(|part| told.contains_key(part))
}

/// The pieces between the stars, in order: the first at the start, the last at the end.
fn fits(text: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{fits, says};

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern) in
            [("a", "a"), ("abc", "a*"), ("abc", "*c"), ("abcd", "a*c*"), ("abc", "*"), ("", "*")]
        {
            assert!(fits(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("ab", "a"), ("abc", "b*"), ("abc", "*b"), ("abcd", "a*d*c"), ("a", "a*a")] {
            assert!(!fits(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn what_is_not_named_must_be_missing() {
        let told = json!({"phase": "accept", "origin": {"label": "a/b[0]"}, "request": null, "policies": []});
        assert!(says(&told, &json!({"phase": "accept", "origin": {"label": "a/*"}})));
        assert!(!says(&told, &json!({"phase": "accept"})));
        assert!(!says(&told, &json!({"phase": "accept", "origin": {"label": "a/*"}, "cluster": "c"})));
        assert!(!says(&told, &json!({"phase": "accept", "origin": {}})));
    }
}
