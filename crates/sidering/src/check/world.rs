//! The mesh that a test takes place in.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sidering_istio::{Inline, Node, parse_with};

use super::Answer;
use super::suite::{Suite, Test};
use crate::world::World;

pub(super) fn of(suite: &Suite<'_>, test: &Test<'_>) -> Result<World, String> {
    let inline: Vec<Inline<'_>> = suite
        .objects
        .iter()
        .chain(&test.objects)
        .map(|node| Inline { file: suite.file.clone(), node })
        .collect();
    World::of(&suite.included, &inline, test.mesh.clone())
}

/// The question about a resource itself.
pub(super) fn validate(file: &Arc<str>, object: &Node) -> Answer {
    let (_, diagnostics) = parse_with(&[], &[Inline { file: file.clone(), node: object }]);
    let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics.iter().partition(|one| one.is_error());
    let messages: Vec<Value> = errors.iter().map(|one| json!(one.message)).collect();
    let actual = Map::from_iter([
        ("valid".to_owned(), json!(errors.is_empty())),
        ("warnings".to_owned(), json!(!warnings.is_empty())),
        ("errors".to_owned(), Value::Array(messages)),
    ]);
    Answer { actual, origin: diagnostics.first().map(ToString::to_string) }
}
