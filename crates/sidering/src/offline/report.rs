//! The way of a connection, for people and for programs.

use serde_json::{Value, json};

use super::Connection;
use super::way::{Step, Way};
use crate::cli::Output;
use crate::remedies;

pub(super) fn print(asked: &Connection, ways: &[Way], output: Output) {
    match output {
        Output::Text => println!("{}", text(asked, ways)),
        Output::Json => println!("{:#}", json(ways)),
    }
}

fn json(ways: &[Way]) -> Value {
    let step =
        |step: &Step| json!({"step": step.name, "says": step.says, "at": step.at.as_ref().map(remedies::at)});
    let way = |way: &Way| {
        let refused = way.refused.as_ref();
        json!({
            "passes": way.passes(),
            "steps": way.steps.iter().map(step).collect::<Vec<_>>(),
            "refused": refused.map(|(why, _)| why),
            "remedies": refused.map(|(_, answer)| remedies::json(answer)).unwrap_or_default(),
        })
    };
    json!({
        "passes": ways.iter().all(Way::passes),
        "ways": ways.iter().map(way).collect::<Vec<_>>(),
    })
}

fn text(asked: &Connection, ways: &[Way]) -> String {
    let what = match &asked.request {
        Some(request) => format!("{} {} of {}:{}", request.method, request.path, asked.host, asked.port),
        None => format!("a connection to {}:{}", asked.host, asked.port),
    };
    let mut lines = vec![format!("{what}, from {}", asked.id)];
    for (way, number) in ways.iter().zip(1..) {
        if ways.len() > 1 {
            lines.push(format!("\nway {number} of {}:", ways.len()));
        }
        lines.extend(way.steps.iter().map(line));
        lines.push(String::new());
        match &way.refused {
            None => lines.push("It would pass.".to_owned()),
            Some((why, answer)) => {
                lines.push(format!("It would be refused: {why}."));
                lines.push(remedies::text(answer));
            }
        }
    }
    lines.join("\n")
}

fn line(step: &Step) -> String {
    let at = step.at.as_ref().map(|origin| format!(", by {origin}")).unwrap_or_default();
    format!("  {:<10} {}{at}", step.name, step.says)
}
