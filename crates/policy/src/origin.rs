//! Where a node of the Snapshot came from. Every decision returns one: it is what `explain`, the access log and
//! `check` print.

use std::fmt;
use std::sync::Arc;

/// A place in a file that the operator wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file, as the operator named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// The resource behind a decision, and its line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Kind of the resource, such as `AuthorizationPolicy`; `default` where Istio's default decided.
    pub kind: Arc<str>,
    /// `namespace/name`, or the xDS resource name.
    pub name: Arc<str>,
    /// Index of the rule within the resource, from 0.
    pub rule: Option<u32>,
    /// Absent for defaults and for xDS.
    pub position: Option<Position>,
}

impl Origin {
    /// What stands where no resource spoke: Istio's own default.
    pub fn default_of(what: &str) -> Self {
        Self { kind: "default".into(), name: what.into(), rule: None, position: None }
    }

    /// The same resource, one of its rules.
    pub fn with_rule(&self, rule: u32, position: Option<Position>) -> Self {
        Self { rule: Some(rule), position: position.or_else(|| self.position.clone()), ..self.clone() }
    }

    /// `ns/name[rule]`: how `check` and records name it.
    pub fn label(&self) -> String {
        match self.rule {
            Some(rule) => format!("{}[{rule}]", self.name),
            None => self.name.to_string(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.label())?;
        self.position.as_ref().map_or(Ok(()), |position| write!(f, " ({position})"))
    }
}
