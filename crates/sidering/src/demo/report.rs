//! What a step of the demo found: checks that held or did not, and facts worth reading. Printed for people as the
//! steps go by, or as one JSON document at the end.

use serde_json::{Map, Value, json};

/// A step under way.
pub(super) struct Step {
    name: &'static str,
    title: &'static str,
    checks: Vec<Check>,
    facts: Map<String, Value>,
}

struct Check {
    what: String,
    held: bool,
}

impl Step {
    pub(super) fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, checks: Vec::new(), facts: Map::new() }
    }

    /// Records whether something held.
    pub(super) fn check(&mut self, what: impl Into<String>, held: bool) {
        self.checks.push(Check { what: what.into(), held });
    }

    /// Records something worth reading.
    pub(super) fn fact(&mut self, key: &str, value: impl Into<Value>) {
        self.facts.insert(key.into(), value.into());
    }

    /// Whether everything held. A step that checked nothing did not hold.
    pub(super) fn held(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.held)
    }

    /// For `-o json`.
    pub(super) fn json(&self) -> Value {
        let checks: Vec<_> =
            self.checks.iter().map(|check| json!({"what": check.what, "held": check.held})).collect();
        json!({"step": self.name, "title": self.title, "held": self.held(), "checks": checks, "facts": self.facts})
    }

    /// For people.
    pub(super) fn text(&self, number: usize) -> String {
        let mut text = format!("{number:2}. {}\n", self.title);
        for check in &self.checks {
            text += &format!("      {}  {}\n", if check.held { "held  " } else { "FAILED" }, check.what);
        }
        for (key, value) in &self.facts {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text += &format!("              {:<20} {shown}\n", key.replace('_', " "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_fails_the_step() {
        let mut step = Step::new("a", "A");
        assert!(!step.held());
        step.check("first", true);
        assert!(step.held());
        step.check("second", false);
        assert!(!step.held());
        assert!(step.text(1).contains("FAILED  second"));
        assert_eq!(step.json()["held"], false);
    }
}
