//! What every resource has: metadata, selectors, exportTo.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sidering_policy::{Origin, Position};

use crate::read::{Fields, Reader};
use crate::yaml::Node;

/// Labels, and what selectors ask of them.
pub(crate) type Labels = BTreeMap<String, String>;

/// `metadata`, and where the resource was written.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) kind: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    /// `creationTimestamp` as Kubernetes writes it (RFC 3339, UTC), so that text order is age. Empty where unknown.
    created: Arc<str>,
    /// `namespace/name`.
    label: Arc<str>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) annotations: Labels,
    pub(crate) position: Position,
}

impl Meta {
    /// Oldest first, then name, then namespace.
    pub(crate) fn age(&self) -> (&str, &str, &str) {
        (&self.created, &self.name, &self.namespace)
    }

    pub(crate) fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    /// This resource, at one of its lines.
    pub(crate) fn origin_at(&self, position: &Position) -> Origin {
        Origin { kind: self.kind.clone(), name: self.label(), rule: None, position: Some(position.clone()) }
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin_at(&self.position)
    }
}

/// Reads `metadata` and hands back the fields of `spec` (none where it is empty), having checked the top level.
pub(crate) fn envelope<'n>(
    document: &'n Node,
    kind: &'static str,
    r: &mut Reader<'_>,
) -> Option<(Meta, Option<&'n Node>)> {
    let (meta, mut f) = metadata(document, kind, r)?;
    let spec = f.get("spec");
    f.done(r);
    Some((meta, spec))
}

/// Reads `metadata`; the other top-level fields are left to the caller.
pub(crate) fn metadata<'n>(
    document: &'n Node,
    kind: &'static str,
    r: &mut Reader<'_>,
) -> Option<(Meta, Fields<'n>)> {
    let mut f = r.fields(document, kind);
    f.allow(&["apiVersion", "kind", "status"]);
    let Some(node) = f.get("metadata") else {
        r.error(document, format!("{kind} needs metadata with a name"));
        return None;
    };
    let mut m = r.fields(node, "metadata");
    m.allow(&[
        "uid",
        "resourceVersion",
        "generation",
        "generateName",
        "managedFields",
        "ownerReferences",
        "finalizers",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ]);
    let name = match m.get("name") {
        Some(n) => r.text(n, "name"),
        None => {
            r.error(node, format!("{kind} needs a name; write metadata.name"));
            None
        }
    };
    let namespace = m.get("namespace").and_then(|n| r.text(n, "namespace")).unwrap_or("default");
    let created = m.get("creationTimestamp").and_then(|n| read_timestamp(n, r)).unwrap_or_default();
    let labels = m.get("labels").map(|n| r.strings(n, "labels")).unwrap_or_default();
    let annotations = m.get("annotations").map(|n| r.strings(n, "annotations")).unwrap_or_default();
    m.done(r);
    let name = name?;
    let meta = Meta {
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        created: created.into(),
        label: format!("{namespace}/{name}").into(),
        labels: labels.into(),
        annotations,
        position: r.position(document),
    };
    Some((meta, f))
}

/// `2026-03-01T10:00:00Z`: the only form that Kubernetes writes.
fn read_timestamp<'n>(node: &'n Node, r: &mut Reader<'_>) -> Option<&'n str> {
    let text = r.text(node, "creationTimestamp")?;
    let pattern = "0000-00-00T00:00:00Z";
    let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
    if text.len() != pattern.len() || !text.chars().zip(pattern.chars()).all(fits) {
        r.error(node, format!("creationTimestamp {text:?} is no UTC time; write it as 2026-03-01T10:00:00Z"));
        return None;
    }
    Some(text)
}

/// `selector.matchLabels`: what a workload's labels must hold. Empty selects all.
pub(crate) fn read_selector(node: &Node, r: &mut Reader<'_>) -> Labels {
    let mut f = r.fields(node, "selector");
    let labels = f.get("matchLabels").map(|n| read_match_labels(n, r)).unwrap_or_default();
    f.done(r);
    if labels.is_empty() {
        r.warning(
            node,
            "the selector has no labels and selects every workload; remove it or write matchLabels",
        );
    }
    labels
}

/// Labels to select by: no wildcards, no empty keys; an empty value is legal.
pub(crate) fn read_match_labels(node: &Node, r: &mut Reader<'_>) -> Labels {
    let labels = r.strings(node, "a selector's label");
    for (key, value) in &labels {
        if key.is_empty() {
            r.error(node, "a selector's label has an empty key; write a label name");
        }
        if key.contains('*') || value.contains('*') {
            r.error(node, format!("wildcards are not supported in selectors: write {key:?} without `*`"));
        }
    }
    labels
}

/// Are all of a selector's labels there?
pub(crate) fn is_selected(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// `exportTo`: namespaces, `.` for the own one, `*` for all.
pub(crate) fn read_export_to(
    node: &Node,
    namespace: &str,
    hidden_allowed: bool,
    r: &mut Reader<'_>,
) -> Vec<Arc<str>> {
    let names = r.texts(node, "exportTo");
    let mut seen = HashSet::new();
    for (name, at) in &names {
        if !seen.insert(if *name == "." { namespace } else { name }) {
            r.error(
                at,
                format!("exportTo names {name:?} twice (`.` is the own namespace); keep one of them"),
            );
        }
        if *name == "*" && names.len() > 1 {
            r.error(at, "`*` in exportTo must stand alone; remove the others");
        }
        if *name == "~" && !hidden_allowed {
            r.error(at, "`~` in exportTo is for ServiceEntry; write `.` to keep it in its own namespace");
        }
    }
    names.into_iter().map(|(name, _)| name.into()).collect()
}
