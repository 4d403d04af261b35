//! What rules read of a request's token (JWT). Verifying it is not this crate's work: whoever asks says what is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::StringMatch;

/// What is known of a request's token.
#[derive(Clone, Copy, Debug, Default)]
pub enum Token<'a> {
    /// Nobody has looked: rules that ask for it fall to their closed side.
    #[default]
    Unverified,
    /// There is none.
    Absent,
    /// It was verified, and says this.
    Verified(&'a Claims),
}

/// A verified token's claims by name, or those within one claim.
pub type Claims = BTreeMap<String, Claim>;

/// A claim's value, as far as rules can match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A string.
    Text(String),
    /// A list of strings, or a string of words.
    List(Vec<String>),
    /// An object.
    Map(Claims),
}

impl Token<'_> {
    /// Can a rule that asks for the token be answered?
    pub(crate) fn is_known(self) -> bool {
        !matches!(self, Self::Unverified)
    }

    /// Does the claim at that path match, or one of its items?
    pub(crate) fn has(self, path: &[Arc<str>], value: &StringMatch) -> bool {
        let Self::Verified(claims) = self else { return false };
        match find(claims, path) {
            Some(Claim::Text(text)) => value.matches(text),
            Some(Claim::List(items)) => items.iter().any(|item| value.matches(item)),
            Some(Claim::Map(_)) | None => false,
        }
    }

    /// Do issuer and subject match?
    pub(crate) fn is_principal(self, issuer: &StringMatch, subject: &StringMatch) -> bool {
        let Self::Verified(claims) = self else { return false };
        let text = |name: &str, value: &StringMatch| match claims.get(name) {
            Some(Claim::Text(text)) => value.matches(text),
            _ => false,
        };
        text("iss", issuer) && text("sub", subject)
    }
}

fn find<'c>(claims: &'c Claims, path: &[Arc<str>]) -> Option<&'c Claim> {
    let (name, rest) = path.split_first()?;
    match (claims.get(&**name)?, rest) {
        (claim, []) => Some(claim),
        (Claim::Map(inner), rest) => find(inner, rest),
        _ => None,
    }
}
