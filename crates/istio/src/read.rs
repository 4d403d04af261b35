//! Typed reading of YAML nodes. Nothing is skipped in silence: what is not asked for is reported, as an error or a
//! warning as the kind demands, and a wrong type says what belongs there. Called by every resource's parser.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sidering_policy::Position;

use crate::yaml::{Entry, Node, Value};
use crate::{Diagnostic, Findings, Severity};

/// Where diagnostics go while one file is read.
pub struct Reader<'d> {
    /// The file being read.
    pub file: Arc<str>,
    /// How bad a field is that we do not know: security resources refuse it, others name it.
    pub unknown: Severity,
    /// Of the whole load.
    pub findings: &'d mut Findings,
}

/// A mapping being read. Every field that nobody asked for is reported by [`Fields::done`].
pub struct Fields<'n> {
    what: &'static str,
    entries: &'n [Entry],
    used: Vec<bool>,
    asked: Vec<&'static str>,
}

impl Reader<'_> {
    /// Where a node is written.
    pub fn position(&self, node: &Node) -> Position {
        Position { file: self.file.clone(), line: node.line, column: node.column }
    }

    /// Reports an error at a node.
    pub fn error(&mut self, node: &Node, message: impl Into<String>) {
        let position = self.position(node);
        self.findings.push(Diagnostic::error(position, message));
    }

    /// Reports a warning at a node.
    pub fn warning(&mut self, node: &Node, message: impl Into<String>) {
        let position = self.position(node);
        self.findings.push(Diagnostic::warning(position, message));
    }

    /// Reports fields that are not known as errors while `read` runs: for the security part of another resource.
    pub fn strictly<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.unknown, Severity::Error);
        let value = read(self);
        self.unknown = before;
        value
    }

    fn wrong(&mut self, node: &Node, what: &str, wanted: &str) {
        self.error(node, format!("{what} must be {wanted}, not {}", node.kind()));
    }

    /// The fields of a mapping; none, with an error, where the node is something else.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &'static str) -> Fields<'n> {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            _ => {
                self.wrong(node, what, "a mapping");
                &[]
            }
        };
        Fields { what, entries, used: vec![false; entries.len()], asked: Vec::new() }
    }

    /// Every entry of a mapping whose keys are the user's own.
    pub fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            _ => {
                self.wrong(node, what, "a mapping");
                &[]
            }
        }
    }

    /// The items of a list; none, with an error, where the node is something else.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.wrong(node, what, "a list");
                &[]
            }
        }
    }

    /// Reports a list that Istio's schema bounds when it has more items.
    pub(crate) fn at_most(&mut self, most: usize, node: &Node, what: &str) {
        if let Value::List(items) = &node.value
            && items.len() > most
        {
            self.error(node, format!("{what} takes at most {most} entries; use several resources"));
        }
    }

    /// A string; a number or boolean without quotes is none.
    pub fn string<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if node.kind() == "a string" => Some(text),
            Value::Scalar { text, .. } if !node.is_null() => {
                self.error(node, format!("{what} must be a string, not {}; write \"{text}\"", node.kind()));
                None
            }
            _ => {
                self.wrong(node, what, "a string");
                None
            }
        }
    }

    /// A string that says something.
    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = self.string(node, what)?;
        if text.is_empty() {
            self.error(node, format!("{what} must not be empty"));
            return None;
        }
        Some(text)
    }

    /// A list of strings, none of them empty, each with its node.
    pub fn texts<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(&'n str, &'n Node)> {
        let items = self.list(node, what);
        items.iter().filter_map(|item| self.text(item, what).map(|text| (text, item))).collect()
    }

    /// As [`Reader::texts`], without the nodes.
    pub fn names(&mut self, node: &Node, what: &str) -> Vec<Arc<str>> {
        self.texts(node, what).into_iter().map(|(text, _)| text.into()).collect()
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.wrong(node, what, "true or false");
                None
            }
        }
    }

    /// A whole number.
    pub fn integer(&mut self, node: &Node, what: &str) -> Option<i64> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, what, "a whole number");
        }
        number
    }

    /// A number from 0, such as a weight or a limit.
    pub fn count(&mut self, node: &Node, what: &str) -> Option<u32> {
        let number = self.integer(node, what)?;
        let count = u32::try_from(number).ok();
        if count.is_none() {
            self.error(
                node,
                format!("{what} {number} is out of range; write a number from 0 to {}", u32::MAX),
            );
        }
        count
    }

    /// 1 to 65535.
    pub fn port(&mut self, node: &Node, what: &str) -> Option<u16> {
        let number = self.integer(node, what)?;
        self.port_of(number, node, what)
    }

    /// A number that was read, as a port.
    pub fn port_of(&mut self, number: i64, node: &Node, what: &str) -> Option<u16> {
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        if port.is_none() {
            self.error(node, format!("{what} {number} is out of range; a port is 1 to 65535"));
        }
        port
    }

    /// One of a closed set of words.
    pub fn one_of<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(node, what)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.error(node, format!("{what} {text:?} is unknown; write one of {known}"));
        }
        found
    }

    /// `1.5s`, `100ms`, `1h30m`.
    pub fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let text = self.string(node, what)?;
        let duration = parse_duration(text);
        if duration.is_none() {
            self.error(node, format!("{what} {text:?} is no duration; write it as 1.5s, 100ms or 1h30m"));
        }
        duration
    }

    /// Labels, annotations, header edits: strings by strings.
    pub fn strings(&mut self, node: &Node, what: &str) -> BTreeMap<String, String> {
        let entries = self.entries(node, what);
        let mut map = BTreeMap::new();
        for entry in entries {
            if let Some(value) = self.string(&entry.value, what) {
                map.insert(entry.key.clone(), value.to_owned());
            }
        }
        map
    }
}

impl<'n> Fields<'n> {
    /// The value of a field; `null` is the same as nothing (proto's JSON mapping).
    pub fn get(&mut self, name: &'static str) -> Option<&'n Node> {
        self.asked.push(name);
        let index = self.entries.iter().position(|entry| entry.key == name)?;
        self.used[index] = true;
        Some(&self.entries[index].value).filter(|node| !node.is_null())
    }

    /// Fields that are fine and mean nothing to us.
    pub fn allow(&mut self, names: &[&'static str]) {
        for name in names {
            self.get(name);
        }
    }

    /// Fields that Istio acts on and we do not yet: each that is written is named in a warning.
    pub fn later(&mut self, names: &[&'static str], reader: &mut Reader<'_>) {
        for name in names {
            if let Some(node) = self.get(name) {
                reader.warning(
                    node,
                    format!("`{name}` of {} is decided, not executed: it has no effect yet", self.what),
                );
            }
        }
    }

    /// Fields that change what a match or a check means, and that we cannot evaluate.
    pub fn refuse(&mut self, names: &[&'static str], why: &str, reader: &mut Reader<'_>) {
        for name in names {
            if let Some(node) = self.get(name) {
                reader.error(node, format!("`{name}` of {} is not supported: {why}", self.what));
            }
        }
    }

    /// Is nothing written at all?
    pub fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| entry.value.is_null())
    }

    /// Reports every field that nobody asked for.
    pub fn done(self, reader: &mut Reader<'_>) {
        for (entry, _) in self.entries.iter().zip(&self.used).filter(|(_, used)| !**used) {
            if reader.findings.is_full(reader.unknown) {
                reader.findings.leave_out(reader.unknown);
                continue;
            }
            let mut message = format!("unknown field `{}` in {}", entry.key, self.what);
            match nearest(&entry.key, &self.asked) {
                Some(name) => message.push_str(&format!("; did you mean `{name}`?")),
                None if self.asked.len() <= 16 => {
                    message.push_str(&format!("; known fields are {}", self.asked.join(", ")));
                }
                None => message.push_str("; remove it"),
            }
            let position = Position { file: reader.file.clone(), line: entry.line, column: entry.column };
            let severity = reader.unknown;
            reader.findings.push(Diagnostic { position, severity, message });
        }
    }
}

/// The known name that a wrong one was probably meant to be.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = wrong.to_ascii_lowercase().replace('_', "");
    let begins = |name: &&&'a str| lower.len() >= 4 && name.to_ascii_lowercase().starts_with(&lower);
    if let Some(longer) = known.iter().filter(begins).min_by_key(|name| name.len()) {
        return Some(longer);
    }
    let distance = |name: &&'a str| edits(&lower, &name.to_ascii_lowercase());
    let best = known.iter().copied().min_by_key(distance)?;
    (distance(&best) <= 2 && best.len() > 2).then_some(best)
}

/// Levenshtein's distance; long texts are far from everything.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(48).collect(), b.chars().take(48).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Go's duration text, never negative.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(total).ok())?
}
