//! What a test expects: which keys a question's answer has, and how each is compared.

use serde_json::{Map, Value};
use sidering_istio::{Node, Reader, Value as Written};

/// How an expected value is compared with what came out.
#[derive(Clone, Copy)]
enum Compared {
    /// Equal; lists in order, of mappings only the keys given.
    Equal,
    /// Lists of the same items in any order.
    Set,
    /// Mappings whose values are sets.
    Sets,
    /// Header names ignore case.
    Headers,
    /// Each is a part of some item.
    Parts,
    /// None of these is a header that is sent upstream.
    Absent,
}

use Compared::{Absent, Equal, Headers, Parts, Set, Sets};

const KEYS: &[(&str, &[(&str, Compared)])] = &[
    ("mtls", &[("mode", Equal), ("ports", Equal), ("by", Equal), ("trustDomains", Set)]),
    ("accept", &[("handling", Equal), ("protocol", Equal), ("reason", Equal)]),
    (
        "authorize",
        &[("allowed", Equal), ("by", Equal), ("action", Equal), ("inForce", Sets), ("wouldDeny", Equal)],
    ),
    (
        "dial",
        &[
            ("waits", Equal),
            ("ruleTls", Equal),
            ("tls", Equal),
            ("sni", Equal),
            ("sans", Set),
            ("alpn", Equal),
            ("endpoints", Set),
            ("rules", Equal),
            ("subsets", Equal),
            ("handling", Equal),
            ("protocol", Equal),
        ],
    ),
    (
        "route",
        &[
            ("status", Equal),
            ("host", Equal),
            ("port", Equal),
            ("subset", Equal),
            ("destinations", Equal),
            ("upstreamHost", Equal),
            ("upstreamPath", Equal),
            ("upstreamHeaders", Headers),
            ("responseHeaders", Headers),
            ("absentHeaders", Absent),
            ("location", Equal),
            ("timeout", Equal),
            ("attempts", Equal),
            ("route", Equal),
            ("by", Equal),
        ],
    ),
    ("validate", &[("valid", Equal), ("warnings", Equal), ("errors", Parts)]),
];

fn keys(question: &str) -> impl Iterator<Item = &'static (&'static str, Compared)> {
    KEYS.iter().filter(move |(name, _)| *name == question).flat_map(|(_, keys)| *keys)
}

/// Reads `expect`; a key that the question's answer does not have is an error.
pub(super) fn read(node: &Node, question: &str, r: &mut Reader<'_>) -> Map<String, Value> {
    let known = || keys(question).map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if matches!(&node.value, Written::Map(entries) if entries.is_empty()) {
        r.error(node, format!("`expect` is empty and would always hold; write one of {}", known()));
    }
    let mut expected = Map::new();
    for entry in r.entries(node, "expect") {
        match keys(question).find(|(name, _)| *name == entry.key) {
            None => {
                let at = Node { line: entry.line, column: entry.column, value: entry.value.value.clone() };
                r.error(
                    &at,
                    format!("{question} has no {:?} to expect; write one of {}", entry.key, known()),
                );
            }
            Some((name, Absent)) if !is_list_of_texts(&entry.value) => {
                r.error(&entry.value, format!("{name} must be a list of header names; write it as [x-user]"));
            }
            Some(_) => {}
        }
        expected.insert(entry.key.clone(), json(&entry.value));
    }
    expected
}

fn is_list_of_texts(node: &Node) -> bool {
    matches!(&node.value, Written::List(items) if items.iter().all(|item| item.kind() == "a string"))
}

fn json(node: &Node) -> Value {
    match &node.value {
        _ if node.is_null() => Value::Null,
        Written::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect::<Map<_, _>>().into()
        }
        Written::List(items) => items.iter().map(json).collect(),
        Written::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "false") => {
            Value::Bool(text == "true")
        }
        Written::Scalar { text, plain: true } => {
            text.parse::<u64>().map_or_else(|_| Value::String(text.clone()), Value::from)
        }
        Written::Scalar { text, .. } => Value::String(text.clone()),
    }
}

/// One line for each key that came out otherwise.
pub(super) fn differences(expected: &Map<String, Value>, actual: &Map<String, Value>) -> Vec<String> {
    let compared = |key: &str| {
        KEYS.iter().flat_map(|(_, keys)| *keys).find(|(name, _)| *name == key).map_or(Equal, |(_, how)| *how)
    };
    let differs = |(key, value): &(&String, &Value)| {
        let found = actual.get(*key).unwrap_or(&Value::Null);
        match compared(key) {
            Absent => !is_absent(value, actual.get("upstreamHeaders")),
            how => !agrees(how, value, found),
        }
    };
    let line = |(key, value): (&String, &Value)| {
        format!("{key}: expected {value}, got {}", actual.get(key).unwrap_or(&Value::Null))
    };
    expected.iter().filter(differs).map(line).collect()
}

fn agrees(how: Compared, expected: &Value, actual: &Value) -> bool {
    match (how, expected, actual) {
        (Set, Value::Array(wanted), Value::Array(found)) => is_same_set(wanted, found),
        (Sets, Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(key, value)| found.get(key).is_some_and(|other| agrees(Set, value, other)))
        }
        (Headers, Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(name, value)| {
            equals(value, found.get(&name.to_ascii_lowercase()).unwrap_or(&Value::Null))
        }),
        (Parts, Value::Array(wanted), Value::Array(found)) => wanted.iter().all(|part| {
            let part = part.as_str().unwrap_or_default();
            found.iter().any(|item| item.as_str().is_some_and(|text| text.contains(part)))
        }),
        _ => equals(expected, actual),
    }
}

fn is_same_set(wanted: &[Value], found: &[Value]) -> bool {
    let mut left: Vec<&Value> = found.iter().collect();
    let mut take = |value: &Value| {
        left.iter().position(|other| equals(value, other)).map(|index| left.swap_remove(index)).is_some()
    };
    wanted.iter().all(&mut take) && left.is_empty()
}

fn equals(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(a, b)| equals(a, b))
        }
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(key, value)| {
            let other = found.get(key).unwrap_or(&Value::Null);
            if key == "address" { is_same_address(value, other) } else { equals(value, other) }
        }),
        // `8080` and `'8080'` are the same to whoever writes YAML.
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            number.to_string() == *text
        }
        _ => expected == actual,
    }
}

/// With its port or without.
fn is_same_address(expected: &Value, actual: &Value) -> bool {
    let (Some(expected), Some(actual)) = (expected.as_str(), actual.as_str()) else { return false };
    let bare = actual.rsplit_once(':').map_or(actual, |(ip, _)| ip.trim_matches(['[', ']']));
    expected == actual || expected == bare
}

/// Of nothing that is sent no header is absent.
fn is_absent(expected: &Value, headers: Option<&Value>) -> bool {
    let (Some(names), Some(sent)) = (expected.as_array(), headers.and_then(Value::as_object)) else {
        return false;
    };
    names.iter().all(|name| name.as_str().is_some_and(|name| !sent.contains_key(&name.to_ascii_lowercase())))
}
