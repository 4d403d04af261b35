//! Istio's string patterns and VirtualService's StringMatch. They test bytes: a header value
//! need not be UTF-8, and one that is not must not slip past a DENY rule.

use std::sync::Arc;

use regex::bytes::Regex;

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
    /// The whole string matches.
    Regex(FullRegex),
}

/// A regular expression (RE2 syntax, linear time) that must match the whole string.
#[derive(Clone, Debug)]
pub struct FullRegex(Regex);

impl FullRegex {
    /// Compiles `pattern`, which need not be anchored.
    ///
    /// # Errors
    /// The syntax error, for people.
    pub fn new(pattern: &str) -> Result<Self, String> {
        // Alone first: `a)|(b` would be legal, and unanchored, within the group.
        Regex::new(pattern)
            .and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z")))
            .map(Self)
            .map_err(|error| error.to_string())
    }
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
    pub fn matches(&self, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::Present => !value.is_empty(),
            Self::Regex(FullRegex(regex)) => regex.is_match(value),
        }
    }

    /// Does it match, ASCII letters being equal to their other case? A regular expression says so itself.
    pub fn matches_ignoring_case(&self, value: &str) -> bool {
        let value = value.as_bytes();
        let equal =
            |part: Option<&[u8]>, text: &str| part.is_some_and(|p| p.eq_ignore_ascii_case(text.as_bytes()));
        match self {
            Self::Exact(text) => equal(Some(value), text),
            Self::Prefix(text) => equal(value.get(..text.len()), text),
            Self::Suffix(text) => equal(value.len().checked_sub(text.len()).map(|at| &value[at..]), text),
            Self::Present | Self::Regex(_) => self.matches(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FullRegex, StringMatch};

    #[test]
    fn wildcards() {
        for (pattern, matching, other) in [
            ("a", "a", "ab"),
            ("a*", "ab", "ba"),
            ("*a", "ba", "ab"),
            ("*", "x", ""),
            ("*a*", "xa*", "xay"),
            ("a*b", "a*b", "axb"),
        ] {
            assert!(StringMatch::parse(pattern).matches(matching), "{pattern} {matching}");
            assert!(!StringMatch::parse(pattern).matches(other), "{pattern} {other}");
        }
    }

    #[test]
    fn case_is_ignored_where_asked() {
        for (pattern, value) in [("aB", "Ab"), ("aB*", "AbC"), ("*aB", "cAb")] {
            assert!(StringMatch::parse(pattern).matches_ignoring_case(value), "{pattern} {value}");
            assert!(!StringMatch::parse(pattern).matches(value), "{pattern} {value}");
        }
        assert!(!StringMatch::parse("abc*").matches_ignoring_case("ab"));
        assert!(!StringMatch::parse("*abc").matches_ignoring_case("bc"));
    }

    #[test]
    fn a_regex_matches_the_whole_string() {
        let regex = StringMatch::Regex(FullRegex::new("a|bc").unwrap());
        assert!(regex.matches("a") && regex.matches("bc"));
        assert!(!regex.matches("ab") && !regex.matches("xbc") && !regex.matches("a\n"));
        assert!(FullRegex::new("a)|(b").is_err());
    }
}
