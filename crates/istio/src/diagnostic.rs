//! What is wrong with a resource, and where. A message says what to write instead.

use std::fmt;

use sidering_policy::Position;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The whole load is refused.
    Error,
    /// The load goes on; the operator should know.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where.
    pub position: Position,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn error(position: Position, message: impl Into<String>) -> Self {
        Self { position, severity: Severity::Error, message: message.into() }
    }

    pub(crate) fn warning(position: Position, message: impl Into<String>) -> Self {
        Self { position, severity: Severity::Warning, message: message.into() }
    }

    /// Does it refuse the load?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.position, self.severity, self.message)
    }
}
