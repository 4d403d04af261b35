//! Istio's resources, typed: read from YAML with the line of everything that can decide something.

use std::sync::Arc;

use crate::Diagnostic;

/// A file's text and the name by which the operator knows it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// As named by the operator; positions repeat it.
    pub file: Arc<str>,
    /// Its whole text.
    pub text: &'a str,
}

/// Every resource that was read, in Istio's order: oldest first, then by name, then by namespace.
#[derive(Clone, Debug, Default)]
pub struct Resources {}

/// Reads every document of every source. An error-level diagnostic means that the whole load must be refused.
pub fn parse(_sources: &[Source<'_>]) -> (Resources, Vec<Diagnostic>) {
    todo!()
}
