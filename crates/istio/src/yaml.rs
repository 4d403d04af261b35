//! YAML documents as a tree in which every key and value knows its line and column. Bounded: size, depth and the number
//! of values are capped, anchors, aliases, tags and merge keys are refused, a key written twice is an error. Called by
//! `read`.

use std::collections::HashSet;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use sidering_policy::Position;

use crate::Diagnostic;
use crate::resource::Source;

/// Larger texts are refused before they are looked at.
pub const MAX_BYTES: usize = 10 << 20;
/// What 10 MiB of resources hold, as people and machines write them.
const MAX_VALUES: usize = 1_000_000;
/// Istio's deepest resource has about twenty levels.
const MAX_DEPTH: usize = 64;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What was written.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// Anything but a collection.
    Scalar {
        /// Unquoted.
        text: String,
        /// Written without quotes, so that it may be a number, a boolean or null.
        plain: bool,
    },
    /// Items in order.
    List(Vec<Node>),
    /// Entries in the order written.
    Map(Vec<Entry>),
}

/// A key with its value, in the order written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Unquoted.
    pub key: String,
    /// Of the key, from 1.
    pub line: u32,
    /// Of the key, from 1.
    pub column: u32,
    /// What is written behind it.
    pub value: Node,
}

impl Node {
    /// `null`, `~`, or nothing at all: proto's way to say "not set".
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Map(_) => "a mapping",
            Value::List(_) => "a list",
            Value::Scalar { plain: false, .. } => "a string",
            Value::Scalar { text, .. } if matches!(text.as_str(), "true" | "false") => "a boolean",
            Value::Scalar { text, .. } if is_number(text) => "a number",
            Value::Scalar { .. } => "a string",
        }
    }
}

/// A plain scalar that YAML's core schema reads as a number.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && (text.parse::<f64>().is_ok()
            || text.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16).is_ok()))
}

/// The documents of a text, in order; empty ones are left out.
///
/// # Errors
/// The first thing that is no YAML, or more than the bounds allow.
pub fn documents(source: &Source<'_>) -> Result<Vec<Node>, Diagnostic> {
    if source.text.len() > MAX_BYTES {
        return Err(fault(&source.file, 1, 1, "larger than 10 MiB; split the file"));
    }
    // The parser holds all the tokens of an outermost `{...}` or `[...]` at once, before it says anything of them.
    if source.text.bytes().filter(|byte| b",:[]{}".contains(byte)).count() > MAX_VALUES {
        return Err(fault(
            &source.file,
            1,
            1,
            "more than 1,000,000 of `,` `:` `[` `]` `{` `}`; split the file",
        ));
    }
    let mut builder =
        Builder { file: source.file.clone(), open: Vec::new(), documents: Vec::new(), values: 0 };
    let mut parser = Parser::new_from_str(source.text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let message = match error.info() {
                "recursion limit exceeded" => too_deep(),
                info => format!("not valid YAML: {info}"),
            };
            fault(&source.file, mark.line(), mark.col() + 1, &message)
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels; write it flatter")
}

fn fault(file: &Arc<str>, line: usize, column: usize, message: &str) -> Diagnostic {
    let number = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    let position = Position { file: file.clone(), line: number(line), column: number(column) };
    Diagnostic::error(position, message)
}

/// Collections that are not closed yet, innermost last.
struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    documents: Vec<Node>,
    /// How many there were.
    values: usize,
}

struct Open {
    node: Node,
    /// Of a mapping: the key whose value is awaited.
    key: Option<(String, u32, u32)>,
    /// Of a mapping: the keys so far.
    keys: HashSet<String>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let node = |value| {
            let number = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
            Node { line: number(line), column: number(column), value }
        };
        let refuse = |message: &str| Err(fault(&self.file, line, column, message));
        if matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..)) {
            self.values += 1;
        }
        match event {
            _ if self.values > MAX_VALUES => refuse("more than 1,000,000 values; split the file"),
            Event::Alias(_) => refuse("aliases are not supported; write the value out"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                refuse("anchors are not supported; write the value out where it is needed")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => refuse("tags are not supported; remove it"),
            Event::SequenceStart(..) | Event::MappingStart(..) if self.open.len() >= MAX_DEPTH => {
                refuse(&too_deep())
            }
            Event::SequenceStart(..) => self.begin(node(Value::List(Vec::new()))),
            Event::MappingStart(..) => self.begin(node(Value::Map(Vec::new()))),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.place(open.node),
                None => Ok(()),
            },
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                self.place(node(Value::Scalar { text: text.into_owned(), plain }))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, node: Node) -> Result<(), Diagnostic> {
        if let Some(Open { node: Node { value: Value::Map(_), .. }, key: None, .. }) = self.open.last() {
            let message = "a key must be a plain word or a quoted string";
            return Err(fault(&self.file, node.line as usize, node.column as usize, message));
        }
        self.open.push(Open { node, key: None, keys: HashSet::new() });
        Ok(())
    }

    /// Puts a finished node where it belongs: into the list or mapping that is open, or among the documents.
    fn place(&mut self, node: Node) -> Result<(), Diagnostic> {
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some((key, line, column))) => {
                entries.push(Entry { key, line, column, value: node })
            }
            (Value::Map(_), None) => {
                let (line, column) = (node.line, node.column);
                let Value::Scalar { text, plain } = node.value else { return Ok(()) };
                let refuse = |message: &str| Err(fault(&self.file, line as usize, column as usize, message));
                if plain && text == "<<" {
                    return refuse("merge keys are not supported; write the fields out");
                }
                if !open.keys.insert(text.clone()) {
                    return refuse(&format!("`{text}` is written twice; keep one of them"));
                }
                open.key = Some((text, line, column));
            }
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}
