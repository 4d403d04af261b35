//! From RE2's syntax, which Istio's resources are written in, to that of the `regex` crate: what the two read
//! differently is rewritten, and what only the latter knows is an error. Called by `matcher`.

/// What RE2 repeats at most.
const MOST_REPEATED: u32 = 1000;
const POSIX: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// The same pattern for the `regex` crate; its groups capture nothing.
///
/// # Errors
/// What RE2 does not know, in a line for people.
pub(crate) fn translated(pattern: &str) -> Result<String, String> {
    let mut translation = Translation { rest: pattern, text: String::with_capacity(pattern.len() * 2) };
    while let Some(c) = translation.next() {
        translation.one(c)?;
    }
    Ok(translation.text)
}

struct Translation<'p> {
    rest: &'p str,
    text: String,
}

impl Translation<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn one(&mut self, c: char) -> Result<(), String> {
        match c {
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.group(),
            '{' => self.repetition(),
            _ => {
                self.text.push(c);
                Ok(())
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.next() {
            Some('b') => self.text.push_str(r"(?-u:\b)"),
            Some('B') => self.text.push_str(r"(?-u:\B)"),
            Some('C') => self.text.push_str("(?s-u:.)"),
            Some('Q') => {
                let (quoted, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                quoted.chars().for_each(|c| self.text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))));
                self.rest = rest;
            }
            Some(c) => match perl_class(c) {
                Some(class) => self.text.push_str(class),
                None => self.escaped(c),
            },
            None => return Err("nothing stands after its last `\\`".to_owned()),
        }
        Ok(())
    }

    /// Of both, but for `\<` and `\>`: those are word boundaries only to `regex`.
    fn escaped(&mut self, c: char) {
        if !matches!(c, '<' | '>') {
            self.text.push('\\');
        }
        self.text.push(c);
    }

    fn group(&mut self) -> Result<(), String> {
        if !self.rest.starts_with('?') {
            self.text.push_str("(?:");
            return Ok(());
        }
        let named = ["?P<", "?<"].into_iter().find_map(|open| self.rest.strip_prefix(open));
        if let Some((name, rest)) = named.and_then(|named| named.split_once('>'))
            && !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            self.rest = rest;
            self.text.push_str("(?:");
            return Ok(());
        }
        let flags = self.rest[1..].split([':', ')']).next().unwrap_or_default();
        if let Some(flag) = flags.chars().find(|c| matches!(c, 'x' | 'u' | 'R')) {
            return Err(format!("RE2 has no flag `{flag}`"));
        }
        // What is wrong with others, `regex` says.
        self.text.push('(');
        Ok(())
    }

    /// `{` that counts nothing is itself.
    fn repetition(&mut self) -> Result<(), String> {
        let inside = self.rest.split_once('}').map(|(inside, _)| inside);
        let (least, most) = inside.map_or(("", ""), |inside| inside.split_once(',').unwrap_or((inside, "")));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if least.is_empty() || !digits(least) || !digits(most) {
            self.text.push_str(r"\{");
            return Ok(());
        }
        let is_much = |text: &str| text.parse::<u32>().map_or(!text.is_empty(), |n| n > MOST_REPEATED);
        if is_much(least) || is_much(most) {
            return Err(format!("it repeats more than {MOST_REPEATED} times"));
        }
        self.text.push('{');
        Ok(())
    }

    /// After `[`. There are no classes within a class, and no operators on them.
    fn class(&mut self) -> Result<(), String> {
        self.text.push('[');
        if self.skip("^") {
            self.text.push('^');
        }
        let mut first = true;
        loop {
            if !first && self.skip("]") {
                self.text.push(']');
                return Ok(());
            }
            first = false;
            if self.class_within()? {
                continue;
            }
            self.class_character()?;
            let mut ahead = self.rest.chars();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
                self.skip("-");
                self.text.push('-');
                self.class_character()?;
            }
        }
    }

    /// `[:alpha:]`, `\d` and `\pN`.
    fn class_within(&mut self) -> Result<bool, String> {
        if let Some(rest) = self.rest.strip_prefix("[:")
            && let Some((name, after)) = rest.split_once(":]")
        {
            if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(format!("there is no class [:{name}:]"));
            }
            self.text.push_str(&format!("[:{name}:]"));
            self.rest = after;
            return Ok(true);
        }
        let Some(escaped) = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
            return Ok(false);
        };
        if let Some(class) = perl_class(escaped) {
            self.text.push_str(class);
        } else if matches!(escaped, 'p' | 'P') {
            self.text.extend(['\\', escaped]);
        } else {
            return Ok(false);
        }
        self.rest = &self.rest[2..];
        if matches!(escaped, 'p' | 'P') {
            let name = match self.rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((name, _)) => name.len() + 2,
                None => self.rest.chars().next().map_or(0, char::len_utf8),
            };
            self.text.push_str(&self.rest[..name]);
            self.rest = &self.rest[name..];
        }
        Ok(true)
    }

    fn class_character(&mut self) -> Result<(), String> {
        match self.next() {
            None => Err("unclosed character class".to_owned()),
            Some('\\') => match self.next() {
                Some('x') if self.rest.starts_with('{') => {
                    let end = self.rest.find('}').map_or(self.rest.len(), |at| at + 1);
                    self.text.push_str(r"\x");
                    self.text.push_str(&self.rest[..end]);
                    self.rest = &self.rest[end..];
                    Ok(())
                }
                Some('x') => {
                    self.text.push_str(r"\x");
                    for _ in 0..2 {
                        let digit = self.next();
                        self.text.extend(digit);
                    }
                    Ok(())
                }
                Some(c) if c.is_ascii_punctuation() || "aftnrv".contains(c) => {
                    self.escaped(c);
                    Ok(())
                }
                Some(c) => Err(format!("`\\{c}` has no meaning at this place of a character class")),
                None => Err("unclosed character class".to_owned()),
            },
            Some(c) => {
                if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
                    self.text.push('\\');
                }
                self.text.push(c);
                Ok(())
            }
        }
    }
}

/// Of ASCII; those of all scripts would also take a hundred times the room.
fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\f\r\x20]",
        'S' => r"[^\t\n\f\r\x20]",
        _ => return None,
    })
}
