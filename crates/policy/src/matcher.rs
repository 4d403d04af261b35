//! Istio's string patterns and VirtualService's StringMatch. They test bytes: a header value
//! need not be UTF-8, and one that is not must not slip past a DENY rule.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use crate::re2::translated;

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
pub struct FullRegex {
    regex: Regex,
    room: usize,
}

/// What most regular expressions take, and what one may take, compiled.
const ROOMS: [usize; 2] = [16 << 10, 1 << 20];

impl FullRegex {
    /// Compiles `pattern`, which need not be anchored.
    ///
    /// # Errors
    /// Why not, in a line for people.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let pattern = translated(pattern)?;
        let mut found = Err(String::new());
        for room in ROOMS {
            // Alone first: `a)|(b` would be legal, and unanchored, within the group.
            let whole = format!(r"\A(?:{pattern})\z");
            let built = built(&pattern, room).and_then(|_| built(&whole, room));
            found = match built {
                Ok(regex) => return Ok(Self { regex, room }),
                Err(regex::Error::CompiledTooBig(_)) => {
                    Err("it takes more than 1 MiB when compiled; repeat less".to_owned())
                }
                // Its last line says what, those before repeat the pattern.
                Err(error) => {
                    let text = error.to_string();
                    return Err(text
                        .lines()
                        .last()
                        .unwrap_or(&text)
                        .trim_start_matches("error: ")
                        .to_owned());
                }
            };
        }
        found
    }

    /// As it was compiled: RE2's classes written out, and anchored.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// An upper bound of what it takes, in bytes.
    pub fn room(&self) -> usize {
        self.room
    }
}

fn built(pattern: &str, room: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(room).build()
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
            Self::Regex(full) => full.regex.is_match(value),
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

    #[test]
    fn a_regex_is_of_re2() {
        for (pattern, matches, others) in [
            (r"\d+", "0129", "٣"),
            (r"\w+", "aZ_9", "é"),
            (r"[\w-]+", "a-b", "a.b"),
            (r"[^\d\]]", "é", "]"),
            (r"\S\W\D", "aéx", "a 1"),
            (r"\\d", r"\d", "1"),
            (r".", "é", "éé"),
            (r"a\sb", "a\tb", "a\u{a0}b"),
            (r"[a[b]", "[", "]"),
            (r"[a&&b]", "&", "c"),
            (r"[a~~b]", "~", "c"),
            (r"[a-c--]", "-", "d"),
            (r"[--a]", "A", "b"),
            (r"[a-z&&[^b]]", "b]", "a"),
            (r"[\d-z]", "-", "y"),
            (r"[]a]", "]", "b"),
            (r"[^]a]", "b", "]"),
            (r"[[:alpha:]\]_]+", "a]_", "é"),
            (r"[\x41-\x{43}\pN]", "B", "D"),
            (r"[a\-c]", "-", "b"),
            (r"[^\W\d]", "a", "1"),
            (r"\bé\B.*|x", "x", "é"),
            (r"a\b.é", "a é", "aaé"),
            (r"\<a\>", "<a>", "a"),
            (r"\Qa.(b\E+", "a.(bb", "axb"),
            (r"(?P<n>a)(b)(?:c)(?i)d", "abcD", "abd"),
            ("a{,2}", "a{,2}", "aa"),
            ("a{2", "a{2", "aa"),
            ("{a}a{2}a{1,}", "{a}aaa", "aa"),
            (r"\C\C", "é", "a"),
        ] {
            let regex = StringMatch::Regex(FullRegex::new(pattern).unwrap());
            assert!(regex.matches(matches) && !regex.matches(others), "{pattern}");
        }
    }

    #[test]
    fn a_regex_takes_little_room_or_is_refused() {
        for (pattern, room) in [(r"/api/v\d+/[\w.-]{1,64}", 16 << 10), (r"\w{1000}", 1 << 20), ("", 16 << 10)]
        {
            assert_eq!(FullRegex::new(pattern).unwrap().room(), room, "{pattern}");
        }
        for (pattern, why) in [
            ("((a{99}){99}){99}", "it takes more than 1 MiB when compiled; repeat less"),
            ("a{1001}", "it repeats more than 1000 times"),
            ("(?x)a b", "RE2 has no flag `x`"),
            ("(?-u)a", "RE2 has no flag `u`"),
            ("[[:alfa:]]", "there is no class [:alfa:]"),
            (r"[a-\d]", "`\\d` has no meaning at this place of a character class"),
            (r"[\b]", "`\\b` has no meaning at this place of a character class"),
            ("[a", "unclosed character class"),
            ("(", "unclosed group"),
            ("\\", "nothing stands after its last `\\`"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
        ] {
            let error = FullRegex::new(pattern).unwrap_err();
            assert!(error.starts_with(why), "{pattern}: {error}");
        }
    }
}
