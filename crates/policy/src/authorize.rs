//! Who may do what: CUSTOM, then DENY, then ALLOW. A `Permit` is made here and nowhere else;
//! the relay takes it by value. How a single rule is tested is in `evaluate`.

use std::net::IpAddr;
use std::sync::Arc;

use sidering_identity::PeerIdentity;

use crate::evaluate::{Effect, Subject};
use crate::index::Rules;
use crate::{Allow, Facts, Origin, Refusal, RuleSet, Token};

/// Everything that decides who may pass a chain. The default holds no policy and lets everything pass, as Istio
/// does.
#[derive(Debug, Default)]
pub struct Authorization {
    enforced: Policies,
    dry_run: Policies,
}

/// A [`RuleSet`], each list with its index.
#[derive(Debug, Default)]
struct Policies {
    custom: Rules,
    deny: Rules,
    allow: Option<Allowed>,
}

#[derive(Debug)]
struct Allowed {
    rules: Rules,
    policies: Arc<[Origin]>,
    /// Of them the first: what a dry run that allows nothing says.
    first: Option<Arc<Origin>>,
}

/// Proof that a connection or request was authorized. It can neither be made outside this module nor copied:
///
/// ```compile_fail,E0451
/// let forged = sidering_policy::Permit { by: None, would_deny: None };
/// ```
/// ```compile_fail,E0599
/// fn twice(permit: sidering_policy::Permit) -> [sidering_policy::Permit; 2] {
///     [permit.clone(), permit]
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    by: Option<Arc<Origin>>,
    would_deny: Option<Arc<Origin>>,
}

/// What rules read of an HTTP request.
pub struct RequestFacts<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:authority`, as sent.
    pub authority: &'a str,
    /// The normalised path without its query.
    pub path: &'a str,
    /// The client's address as forwarded by trusted peers; the immediate peer's otherwise.
    pub remote_ip: IpAddr,
    /// What is known of its token.
    pub token: Token<'a>,
    /// Every value of a header, by lower-case name, in order.
    pub header: HeaderLookup<'a>,
}

/// Calls back with every value of the header of that lower-case name, in order. A function, so that `http`'s own
/// form is not copied.
pub type HeaderLookup<'a> = &'a dyn Fn(&str, &mut dyn FnMut(&[u8]));

impl Authorization {
    /// What is enforced, and what is only evaluated and reported.
    pub fn new(enforced: RuleSet, dry_run: RuleSet) -> Self {
        Self { enforced: enforced.into(), dry_run: dry_run.into() }
    }

    /// What is enforced: for showing, and for asking what would be if a rule were another one.
    pub fn enforced(&self) -> RuleSet {
        self.enforced.rules()
    }

    /// What is only evaluated and reported.
    pub fn dry_run(&self) -> RuleSet {
        self.dry_run.rules()
    }
}

impl Policies {
    fn rules(&self) -> RuleSet {
        let Self { custom, deny, allow } = self;
        let allow = allow
            .as_ref()
            .map(|allow| Allow { rules: allow.rules.all().to_vec(), policies: allow.policies.clone() });
        RuleSet { custom: custom.all().to_vec(), deny: deny.all().to_vec(), allow }
    }
}

impl From<RuleSet> for Policies {
    fn from(set: RuleSet) -> Self {
        let allow = set.allow.map(|allow| Allowed {
            rules: Rules::new(allow.rules),
            first: allow.policies.first().cloned().map(Arc::new),
            policies: allow.policies,
        });
        Self { custom: Rules::new(set.custom), deny: Rules::new(set.deny), allow }
    }
}

impl Permit {
    /// The rule that allowed it; `None` where no ALLOW policy is in force.
    pub fn by(&self) -> Option<&Origin> {
        self.by.as_deref()
    }

    /// The dry-run DENY rule that would have denied it, or a dry-run ALLOW policy that would not have allowed it.
    pub fn would_deny(&self) -> Option<&Origin> {
        self.would_deny.as_deref()
    }
}

/// May this request pass? `peer` is absent for plaintext.
///
/// # Errors
/// [`Refusal::CustomUnsupported`], [`Refusal::Denied`], [`Refusal::NotAllowed`].
pub fn authorize(
    rules: &Authorization,
    facts: &Facts,
    peer: Option<&PeerIdentity>,
    request: &RequestFacts<'_>,
) -> Result<Permit, Refusal> {
    decide(rules, &Subject { facts, peer, request: Some(request) })
}

/// May this connection pass? Asked once, before payload, and again on each publish.
///
/// # Errors
/// As [`authorize`].
pub fn authorize_tcp(
    rules: &Authorization,
    facts: &Facts,
    peer: Option<&PeerIdentity>,
) -> Result<Permit, Refusal> {
    decide(rules, &Subject { facts, peer, request: None })
}

/// The dry-run rule that would deny this request, whatever the others say.
pub fn dry_run(
    rules: &Authorization,
    facts: &Facts,
    peer: Option<&PeerIdentity>,
    request: &RequestFacts<'_>,
) -> Option<Origin> {
    would_deny(&rules.dry_run, &Subject { facts, peer, request: Some(request) }).map(Arc::unwrap_or_clone)
}

/// As [`dry_run`], for a connection.
pub fn dry_run_tcp(rules: &Authorization, facts: &Facts, peer: Option<&PeerIdentity>) -> Option<Origin> {
    would_deny(&rules.dry_run, &Subject { facts, peer, request: None }).map(Arc::unwrap_or_clone)
}

fn decide(rules: &Authorization, subject: &Subject<'_>) -> Result<Permit, Refusal> {
    let Policies { custom, deny, allow } = &rules.enforced;
    if let Some(rule) = custom.first(subject, Effect::Deny) {
        return Err(Refusal::CustomUnsupported { origin: Origin::clone(&rule.origin) });
    }
    if let Some(rule) = deny.first(subject, Effect::Deny) {
        return Err(Refusal::Denied { origin: Origin::clone(&rule.origin) });
    }
    let by = match allow {
        None => None,
        Some(allow) => match allow.rules.first(subject, Effect::Allow) {
            Some(rule) => Some(rule.origin.clone()),
            None => return Err(Refusal::NotAllowed { policies: allow.policies.clone() }),
        },
    };
    Ok(Permit { by, would_deny: would_deny(&rules.dry_run, subject) })
}

/// Dry-run policies are judged among themselves, as Istio does: an ALLOW that would not have matched would have denied.
fn would_deny(dry_run: &Policies, subject: &Subject<'_>) -> Option<Arc<Origin>> {
    if let Some(rule) = dry_run.deny.first(subject, Effect::Deny) {
        return Some(rule.origin.clone());
    }
    let allow = dry_run.allow.as_ref()?;
    match allow.rules.first(subject, Effect::Allow) {
        Some(_) => None,
        None => allow.first.clone(),
    }
}

#[cfg(test)]
mod tests;
