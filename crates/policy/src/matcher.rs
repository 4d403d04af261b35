//! Istio's string patterns (istio-semantics 4.3) and VirtualService's StringMatch.

use std::sync::Arc;

use regex::Regex;

/// A test of one string, case sensitive.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// Equal.
    Exact(Arc<str>),
    /// Begins with.
    Prefix(Arc<str>),
    /// Ends with.
    Suffix(Arc<str>),
    /// Present and not empty (`*`).
    Present,
    /// The whole string matches; linear time (RE2 syntax).
    Regex(Regex),
}

impl StringMatch {
    /// Istio's wildcard grammar: `*` present, `*x` suffix, `x*` prefix, else exact; `*a*` is the suffix `a*`.
    pub fn parse(pattern: &str) -> Self {
        if pattern == "*" {
            Self::Present
        } else if let Some(suffix) = pattern.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(pattern.into())
        }
    }

    /// Does it match?
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => value == &**text,
            Self::Prefix(text) => value.starts_with(&**text),
            Self::Suffix(text) => value.ends_with(&**text),
            Self::Present => !value.is_empty(),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}
