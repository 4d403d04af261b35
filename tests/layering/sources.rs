//! Words that may stand in some places only. Textual on purpose: features are unified over a workspace, so the
//! compiler would let a crate use what another one switched on.

use std::fs;
use std::path::Path;

/// A word and the places where it may stand, as prefixes of the path.
struct Rule {
    word: &'static str,
    places: &'static [&'static str],
    reason: &'static str,
}

const TOKIO_PLACES: &[&str] = &["crates/control/", "crates/sidering/", "tests/"];
const TOKIO_REASON: &str = "tokio's runtime belongs to control and the binary";

const RULES: &[Rule] = &[
    Rule { word: "monoio::", places: &["crates/net/"], reason: "the runtime must stay replaceable" },
    Rule {
        word: "cfg(feature",
        places: &["crates/tls/", "crates/sidering/"],
        reason: "features choose TLS backends and nothing else",
    },
    Rule {
        word: "unsafe",
        places: &["crates/net/src/sys/", "crates/tls/src/boring/ffi.rs"],
        reason: "unsafe code lives in two places",
    },
    Rule { word: "tokio::net", places: TOKIO_PLACES, reason: TOKIO_REASON },
    Rule { word: "tokio::runtime", places: TOKIO_PLACES, reason: TOKIO_REASON },
    Rule { word: "tokio::spawn", places: TOKIO_PLACES, reason: TOKIO_REASON },
    Rule { word: "tokio::task", places: TOKIO_PLACES, reason: TOKIO_REASON },
    Rule { word: "tokio::time", places: TOKIO_PLACES, reason: TOKIO_REASON },
];

/// Every line below crates/ and tests/ that breaks a rule. This folder spells the words out and is left out.
pub(crate) fn violations(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["crates", "tests"] {
        walk(root, &root.join(folder), &mut found);
    }
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace can be read") {
        let path = entry.expect("an entry of it, too").path();
        if path.is_dir() {
            walk(root, &path, found);
            continue;
        }
        let name = path.strip_prefix(root).expect("below the root").display().to_string();
        if name.ends_with(".rs") && !name.starts_with("tests/layering/") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.extend(broken(&name, &text));
        }
    }
}

fn broken(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| !rule.places.iter().any(|place| name.starts_with(place))) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split_once("//").map_or(line, |(code, _)| code);
            if has_word(code, rule.word) {
                let places = rule.places.join(", ");
                found.push(format!(
                    "{name}:{}: `{}` only in {places}: {}",
                    number + 1,
                    rule.word,
                    rule.reason
                ));
            }
        }
    }
    found
}

/// `unsafe_code` is another word than `unsafe`.
fn has_word(code: &str, word: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let behind = code[at + word.len()..].chars().next();
        !code[..at].ends_with(part_of_a_name) && (word.ends_with(':') || !behind.is_some_and(part_of_a_name))
    })
}

#[test]
fn a_word_in_the_wrong_place_is_named_with_its_line() {
    assert_eq!(
        broken("crates/proxy/src/x.rs", "use a;\nmonoio::spawn(x);"),
        ["crates/proxy/src/x.rs:2: `monoio::` only in crates/net/: the runtime must stay replaceable"]
    );
    assert_eq!(broken("crates/net/src/lib.rs", "unsafe { x() }").len(), 1);
    assert_eq!(broken("crates/http/src/x.rs", "#[cfg(feature = \"x\")] tokio::time::sleep(d)").len(), 2);
}

#[test]
fn what_may_stand_there_is_not_named() {
    for (name, text) in [
        ("crates/net/src/sys/ring.rs", "unsafe { x() }"),
        ("crates/policy/src/lib.rs", "#![forbid(unsafe_code)]"),
        ("crates/policy/src/lib.rs", "// unsafe, monoio::"),
        ("crates/tls/src/lib.rs", "#[cfg(feature = \"boring\")]"),
        ("crates/control/src/watch.rs", "tokio::time::sleep(d)"),
    ] {
        assert_eq!(broken(name, text), Vec::<String>::new(), "{name}");
    }
}
