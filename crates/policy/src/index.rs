//! Rules in order, and which of them can match at all. Of each rule one condition is picked that holds whenever the
//! rule matches and that is a text to look up, such as a principal or a path: only the rules found by it are tested.
//! Called by `authorize`; allocates nothing once it is built.

use std::collections::HashMap;

use crate::evaluate::{Effect, Subject, namespaces};
use crate::rule::{Clause, Matcher, PathPattern, PathTemplate, Rule};
use crate::{Map, StringMatch};

/// Fewer rules are tested sooner than looked up.
const FEW: usize = 4;
/// A pattern holds for many values: it counts as that many texts.
const PATTERN: usize = 4;

/// Rules in order: the first that matches decides.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    index: Index,
}

/// Numbers of rules, ascending, by a condition that each of them has. One that is not found does not match.
#[derive(Debug, Default)]
struct Index {
    /// Rules without such a condition.
    always: Vec<usize>,
    principals: Texts,
    namespaces: Texts,
    /// By a segment of the peer's id.
    accounts: Texts,
    paths: Texts,
}

/// Numbers of rules by texts that a value must equal, begin with or end with.
#[derive(Debug, Default)]
struct Texts {
    whole: Literals,
    begin: Literals,
    end: Literals,
}

#[derive(Debug, Default)]
struct Literals {
    /// Those that occur, ascending.
    lengths: Vec<usize>,
    rules: Map<Box<[u8]>, Vec<usize>>,
}

/// A text that a value of the subject must have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'r> {
    attribute: Attribute,
    part: Part,
    text: &'r str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Attribute {
    Principal,
    Namespace,
    Account,
    Path,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Whole,
    Begin,
    End,
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { index: Index::of(&rules), rules }
    }

    /// In order.
    pub(crate) fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that matches.
    pub(crate) fn first(&self, subject: &Subject<'_>, effect: Effect) -> Option<&Rule> {
        if self.rules.len() <= FEW { self.scan(subject, effect) } else { self.look_up(subject, effect) }
    }

    fn scan(&self, subject: &Subject<'_>, effect: Effect) -> Option<&Rule> {
        self.rules.iter().find(|rule| subject.meets(rule, effect))
    }

    fn look_up(&self, subject: &Subject<'_>, effect: Effect) -> Option<&Rule> {
        let mut first = self.rules.len();
        self.index.candidates(subject, &mut |numbers| {
            let mut earlier = numbers.iter().copied().take_while(|number| *number < first);
            if let Some(number) = earlier.find(|number| subject.meets(&self.rules[*number], effect)) {
                first = number;
            }
        });
        self.rules.get(first)
    }
}

impl Index {
    fn of(rules: &[Rule]) -> Self {
        let mut shared: HashMap<Key<'_>, usize> = HashMap::new();
        for key in rules.iter().flat_map(conditions).flatten() {
            *shared.entry(key).or_default() += 1;
        }
        let weight = |key: &Key<'_>| shared[key] * if key.part == Part::Whole { 1 } else { PATTERN };
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            match conditions(rule).min_by_key(|keys| keys.iter().map(weight).sum::<usize>()) {
                Some(keys) => keys.into_iter().for_each(|key| index.add(key, number)),
                None => index.always.push(number),
            }
        }
        index
    }

    fn add(&mut self, Key { attribute, part, text }: Key<'_>, number: usize) {
        let texts = match attribute {
            Attribute::Principal => &mut self.principals,
            Attribute::Namespace => &mut self.namespaces,
            Attribute::Account => &mut self.accounts,
            Attribute::Path => &mut self.paths,
        };
        let literals = match part {
            Part::Whole => &mut texts.whole,
            Part::Begin => &mut texts.begin,
            Part::End => &mut texts.end,
        };
        literals.add(text, number);
    }

    fn candidates(&self, subject: &Subject<'_>, test: &mut impl FnMut(&[usize])) {
        test(&self.always);
        if let Some(id) = subject.peer.map(|peer| &peer.id) {
            self.principals.find(|| [id.principal()], test);
            self.namespaces.find(|| namespaces(id), test);
            self.accounts.find(|| id.principal().split('/'), test);
        }
        match subject.request {
            Some(request) => self.paths.find(|| [request.path], test),
            // A condition that cannot be answered may hold all the same.
            None => self.paths.all().for_each(|numbers| test(numbers)),
        }
    }
}

impl Texts {
    fn find<'v, V: IntoIterator<Item = &'v str>>(
        &self,
        values: impl FnOnce() -> V,
        test: &mut impl FnMut(&[usize]),
    ) {
        let used =
            self.parts().map(|(part, literals)| (part, Some(literals).filter(|it| !it.lengths.is_empty())));
        if used.iter().all(|(_, literals)| literals.is_none()) {
            return;
        }
        for value in values().into_iter().map(str::as_bytes) {
            for (part, literals) in used.iter().filter_map(|(part, literals)| Some((*part, (*literals)?))) {
                let found = literals.possible(part, value).filter_map(|text| literals.rules.get(text));
                found.for_each(|numbers| test(numbers));
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.parts().into_iter().flat_map(|(_, literals)| literals.rules.values())
    }

    fn parts(&self) -> [(Part, &Literals); 3] {
        [(Part::Whole, &self.whole), (Part::Begin, &self.begin), (Part::End, &self.end)]
    }
}

impl Literals {
    fn add(&mut self, text: &str, number: usize) {
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
        self.rules.entry(text.as_bytes().into()).or_default().push(number);
    }

    /// What of a value may be one of them, by its length. The client chooses the value: no more of it is hashed than
    /// the rules have of text.
    fn possible<'v>(&'v self, part: Part, value: &'v [u8]) -> impl Iterator<Item = &'v [u8]> {
        let fitting = self.lengths.partition_point(|length| *length <= value.len());
        let shortest = match part {
            // The longest that fits is the only one that can be the whole.
            Part::Whole if fitting > 0 && self.lengths[fitting - 1] == value.len() => fitting - 1,
            Part::Whole => fitting,
            Part::Begin | Part::End => 0,
        };
        self.lengths[shortest..fitting].iter().map(move |length| match part {
            Part::End => &value[value.len() - length..],
            Part::Whole | Part::Begin => &value[..*length],
        })
    }
}

/// Each is a condition of the rule by itself: one of its keys is found whenever the rule matches.
fn conditions(rule: &Rule) -> impl Iterator<Item = Vec<Key<'_>>> {
    let lists = [&rule.sources, &rule.operations].into_iter().filter_map(|lists| keys_of_any(lists));
    lists.chain(rule.when.iter().filter_map(keys))
}

/// One of the lists must hold: the keys of a clause of each.
fn keys_of_any(lists: &[Vec<Clause>]) -> Option<Vec<Key<'_>>> {
    let each = lists.iter().map(|list| list.iter().find_map(keys));
    let keys = each.collect::<Option<Vec<_>>>()?.concat();
    (!keys.is_empty()).then_some(keys)
}

/// What a clause asks for, if all of it can be looked up.
fn keys(clause: &Clause) -> Option<Vec<Key<'_>>> {
    let keys = clause.any.iter().map(key).collect::<Option<Vec<_>>>()?;
    (!clause.negated && !keys.is_empty()).then_some(keys)
}

fn key(matcher: &Matcher) -> Option<Key<'_>> {
    let (attribute, (part, text)) = match matcher {
        Matcher::Principal(value) => (Attribute::Principal, part(value)?),
        Matcher::Namespace(value) => (Attribute::Namespace, part(value)?),
        Matcher::ServiceAccount(_, account) => (Attribute::Account, (Part::Whole, &**account)),
        Matcher::Path(PathPattern::Plain(value)) => (Attribute::Path, part(value)?),
        Matcher::Path(PathPattern::Template(template)) => (Attribute::Path, literal(template)),
        _ => return None,
    };
    Some(Key { attribute, part, text })
}

fn part(value: &StringMatch) -> Option<(Part, &str)> {
    match value {
        StringMatch::Exact(text) => Some((Part::Whole, text)),
        StringMatch::Prefix(text) => Some((Part::Begin, text)),
        StringMatch::Suffix(text) => Some((Part::End, text)),
        StringMatch::Present | StringMatch::Regex(_) => None,
    }
}

/// What stands before the first operator.
fn literal(template: &PathTemplate) -> (Part, &str) {
    match template.as_str().split_once('{') {
        Some((literal, _)) => (Part::Begin, literal),
        None => (Part::Whole, template.as_str()),
    }
}

#[cfg(test)]
mod tests;
