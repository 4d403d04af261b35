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

/// More of one severity than anybody reads: what comes after is counted alone.
const MOST: usize = 1000;

/// Bytes that the regular expressions of one load may take.
const REGEX_ROOM: usize = 64 << 20;

/// What reading one load has found and used up, both bounded whatever was written.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Kept,
    warnings: Kept,
    regexes: usize,
}

/// Diagnostics of one severity: the first of them, and how many came after.
#[derive(Debug, Default)]
struct Kept {
    first: Vec<Diagnostic>,
    more: usize,
}

/// How much had been found at some time.
pub(crate) struct Mark {
    /// Kept, and left out.
    errors: (usize, usize),
    warnings: (usize, usize),
    regexes: usize,
}

/// What one part of a load found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// No errors, and all warnings: the same whatever else is read.
    settled: bool,
    warnings: Vec<Diagnostic>,
    regexes: usize,
}

impl Findings {
    /// Takes a diagnostic, unless there are [`MOST`] of its severity.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        match self.is_full(diagnostic.severity) {
            true => self.leave_out(diagnostic.severity),
            false => self.of(diagnostic.severity).first.push(diagnostic),
        }
    }

    /// Counts one that nobody reads.
    pub(crate) fn leave_out(&mut self, severity: Severity) {
        self.of(severity).more += 1;
    }

    fn of(&mut self, severity: Severity) -> &mut Kept {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }

    /// Is there room for another regular expression?
    pub(crate) fn has_room(&self) -> bool {
        self.regexes < REGEX_ROOM
    }

    /// One takes that many bytes.
    pub(crate) fn take_room(&mut self, bytes: usize) {
        self.regexes += bytes;
    }

    /// How many there were.
    pub(crate) fn errors(&self) -> usize {
        self.errors.first.len() + self.errors.more
    }

    /// Would another of this severity be left out?
    pub(crate) fn is_full(&self, severity: Severity) -> bool {
        let kept = if severity == Severity::Error { &self.errors } else { &self.warnings };
        kept.first.len() >= MOST
    }

    /// How much there is: for [`Findings::since`].
    pub(crate) fn mark(&self) -> Mark {
        let of = |kept: &Kept| (kept.first.len(), kept.more);
        Mark { errors: of(&self.errors), warnings: of(&self.warnings), regexes: self.regexes }
    }

    /// What was found since then.
    pub(crate) fn since(&self, mark: &Mark) -> Found {
        let after = self.mark();
        Found {
            settled: after.errors == mark.errors && after.warnings.1 == mark.warnings.1,
            warnings: self.warnings.first[mark.warnings.0..].to_vec(),
            regexes: after.regexes - mark.regexes,
        }
    }

    /// Finds the same once more, if it is settled and there is room.
    pub(crate) fn repeat(&mut self, found: &Found) -> bool {
        let has_room = self.warnings.first.len() + found.warnings.len() <= MOST
            && self.regexes + found.regexes <= REGEX_ROOM;
        if found.settled && has_room {
            self.warnings.first.extend_from_slice(&found.warnings);
            self.take_room(found.regexes);
        }
        found.settled && has_room
    }

    /// By file and line. Where some were left out, the last ones say how many.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut left_out = Vec::new();
        let mut all = Vec::new();
        for Kept { first, more } in [self.errors, self.warnings] {
            if let Some(last) = first.last().filter(|_| more > 0) {
                let message = format!("there are {more} more {}s; mend these first", last.severity);
                left_out.push(Diagnostic { message, ..last.clone() });
            }
            all.extend(first);
        }
        all.sort();
        all.append(&mut left_out);
        all
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_again_takes_its_room_again() {
        let mut findings = Findings::default();
        let before = findings.mark();
        findings.take_room(REGEX_ROOM / 2 + 1);
        let found = findings.since(&before);
        let mut again = Findings::default();
        assert!(again.repeat(&found) && again.has_room());
        assert!(!again.repeat(&found) && again.has_room());
    }
}
