//! Path normalization: what routing, policy and the upstream all see.

use std::borrow::Cow;

/// `meshConfig.pathNormalization.normalization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    /// Nothing but dropping the fragment.
    None,
    /// RFC 3986 dot segments, unreserved escapes, `\` to `/`. Istio's default.
    #[default]
    Base,
    /// And runs of `/` collapse.
    MergeSlashes,
    /// `%2f` and `%5c` first become `/`.
    DecodeAndMergeSlashes,
}

/// The part of a request target that rules and routes match: what stands before the query.
pub fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Normalises a request target's path; the fragment is dropped, the query, if any, is kept as it is. `None`: the
/// request must be answered with 400 (it is neither a path nor `*`, or has a `%00` in the decoding mode).
pub fn normalize_path(mode: PathNormalization, target: &str) -> Option<Cow<'_, str>> {
    let target = target.split_once('#').map_or(target, |(rest, _)| rest);
    if target == "*" {
        return Some(target.into());
    }
    let path = path_of(target);
    if !path.starts_with('/') {
        return None;
    }
    if mode == PathNormalization::None || is_normal(mode, path) {
        return Some(target.into());
    }
    let decoding = mode == PathNormalization::DecodeAndMergeSlashes;
    if decoding && path.contains("%00") {
        return None;
    }
    let mut normal = without_dot_segments(&decoded(path, decoding));
    if mode != PathNormalization::Base {
        merge_slashes(&mut normal);
    }
    normal.push_str(&target[path.len()..]);
    Some(normal.into())
}

/// Most paths: nothing to do, nothing to copy.
fn is_normal(mode: PathNormalization, path: &str) -> bool {
    !path.contains(['%', '\\'])
        && !path.contains("/.")
        && (mode == PathNormalization::Base || !path.contains("//"))
}

/// Decodes what is to be decoded, once. A stray `%` stays what it is: an escape behind it that would complete it to
/// another escape (`%%32f`) is left alone, so that whoever decodes next sees what we saw.
fn decoded(path: &str, decode_slashes: bool) -> String {
    let mut out = String::with_capacity(path.len());
    // How many characters may still complete the stray `%`.
    let mut stray = 0;
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        let escape = if c == '%' { rest.as_str().get(..2) } else { None };
        let byte = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')));
        match (escape, byte) {
            (Some(hex), Some(byte)) => {
                rest = rest.as_str()[2..].chars();
                match byte {
                    b'/' | b'\\' if decode_slashes => out.push('/'),
                    _ if is_unreserved(byte) && !(stray > 0 && byte.is_ascii_hexdigit()) => {
                        out.push(byte.into())
                    }
                    _ => {
                        out.push('%');
                        out.push_str(hex);
                    }
                }
                stray = 0;
            }
            _ => {
                out.push(if c == '\\' { '/' } else { c });
                stray = match c {
                    '%' => 2,
                    _ if c.is_ascii_hexdigit() => stray.max(1) - 1,
                    _ => 0,
                };
            }
        }
    }
    out
}

/// RFC 3986 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 5.2.4. An empty segment is a segment: `..` removes it.
fn without_dot_segments(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if last {
                    out.push('/');
                }
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    out
}

fn merge_slashes(path: &mut String) {
    let mut previous = '\0';
    path.retain(|c| {
        let repeated = c == '/' && previous == '/';
        previous = c;
        !repeated
    });
}

#[cfg(test)]
mod tests;
