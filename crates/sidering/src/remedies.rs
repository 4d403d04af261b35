//! Remedies for people and for programs.

use serde_json::{Value, json};
use sidering_policy::{Answer, Change, Origin};

/// One object for each.
pub(crate) fn json(answer: &Answer) -> Vec<Value> {
    let change = |change: &Change| json!({"what": change.what, "at": change.at.as_ref().map(at)});
    let one = |remedy: &sidering_policy::Remedy| {
        json!({
            "what": remedy.to_string(),
            "changes": remedy.changes.iter().map(change).collect::<Vec<_>>(),
            "verified": true,
        })
    };
    answer.remedies.iter().map(one).collect()
}

/// What no deciding function can be asked about.
pub(crate) fn advised(what: &str) -> Value {
    json!({"what": what, "changes": [], "verified": false})
}

pub(crate) fn at(origin: &Origin) -> Value {
    let position = origin.position.as_ref().map(ToString::to_string);
    json!({"kind": &*origin.kind, "label": origin.label(), "position": position})
}

/// No peer writes control characters into an operator's terminal, nor such as turn the direction of what follows.
pub(crate) fn escaped(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .flat_map(
            |c| if c.is_control() || turns(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] },
        )
        .collect()
}

/// A line for each, numbered where there are several. Whatever came from a peer is escaped.
pub(crate) fn text(answer: &Answer) -> String {
    let remedies: Vec<String> = answer.remedies.iter().map(|remedy| escaped(&remedy.to_string())).collect();
    match remedies.as_slice() {
        [] => "No small change of the configuration or of the client was found that would let it pass."
            .to_owned(),
        [only] => format!("What would let it pass:\n  {only}"),
        several => {
            let lines = several.iter().zip(1..).map(|(remedy, number)| format!("\n  {number}. {remedy}"));
            format!("What would let it pass, any of these:{}", lines.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_peer_neither_commands_nor_turns_a_terminal() {
        assert_eq!(escaped("a\u{1b}[31m\u{202e}b\u{2066}…é"), "a\\u{1b}[31m\\u{202e}b\\u{2066}…é");
    }
}
