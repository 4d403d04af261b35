//! What a stage of the story returns when it says no: a reason with its evidence. The connection or request that
//! receives it writes the record, once, and replies or closes.

use sidering_identity::{ExpectedSans, IdentityError, Leaf};
use sidering_policy::{Origin, Refusal};

use crate::{Expected, OriginText, Phase, Presented, Reason, RequestLine};

/// A refusal or failure on its way to the record. Boxed: it is rare, and results stay small.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) phase: Phase,
    pub(crate) detail: String,
    pub(crate) origin: Option<OriginText>,
    pub(crate) policies: Vec<OriginText>,
    pub(crate) expected: Vec<Expected>,
    pub(crate) presented: Option<Presented>,
    pub(crate) upstream: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) request: Option<RequestLine>,
}

/// The result of a stage.
pub(crate) type Stage<T> = Result<T, Box<Refused>>;

impl Refused {
    #[cold]
    pub(crate) fn new(phase: Phase, reason: Reason, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            reason,
            phase,
            detail: detail.into(),
            origin: None,
            policies: Vec::new(),
            expected: Vec::new(),
            presented: None,
            upstream: None,
            cluster: None,
            request: None,
        })
    }

    /// A decision of `policy`.
    pub(crate) fn decided(refusal: &Refusal) -> Box<Self> {
        let mut refused = Self::new(phase(refusal), Reason::from(refusal), refusal.to_string());
        refused.origin = origin(refusal).map(OriginText::from);
        if let Refusal::NotAllowed { policies } = refusal {
            refused.policies = policies.iter().map(OriginText::from).collect();
        }
        refused
    }

    /// A handshake that failed, on either side.
    pub(crate) fn handshake(failure: &sidering_tls::Failure) -> Box<Self> {
        Self::new(Phase::Handshake, Reason::from(failure), failure.to_string())
    }

    /// A peer whose identity is not believed.
    pub(crate) fn naming(error: &IdentityError, leaf: Option<&Leaf>, expected: &ExpectedSans) -> Box<Self> {
        let mut refused = Self::new(Phase::Naming, Reason::from(error), error.to_string());
        refused.presented = leaf.map(Presented::from);
        refused.expected = self::expected(expected);
        refused
    }

    /// Who was being refused.
    pub(crate) fn presenting(mut self: Box<Self>, leaf: Option<&Leaf>) -> Box<Self> {
        self.presented = leaf.map(Presented::from);
        self
    }

    /// Whose resource asked for what failed.
    pub(crate) fn because_of(mut self: Box<Self>, origin: &Origin) -> Box<Self> {
        self.origin.get_or_insert_with(|| OriginText::from(origin));
        self
    }

    /// What was asked for.
    pub(crate) fn asking(mut self: Box<Self>, request: Option<RequestLine>) -> Box<Self> {
        self.request = self.request.take().or(request);
        self
    }

    /// Which upstream was being tried.
    pub(crate) fn towards(mut self: Box<Self>, cluster: &str, upstream: Option<String>) -> Box<Self> {
        self.cluster.get_or_insert_with(|| cluster.to_owned());
        self.upstream = self.upstream.take().or(upstream);
        self
    }
}

/// Where each expected name was written.
pub(crate) fn expected(sans: &ExpectedSans) -> Vec<Expected> {
    sans.0.iter().map(|san| Expected { name: san.name.to_string(), from: san.from.to_string() }).collect()
}

fn phase(refusal: &Refusal) -> Phase {
    match refusal {
        Refusal::NoListener { .. }
        | Refusal::PlaintextToStrict { .. }
        | Refusal::TlsNotAccepted { .. }
        | Refusal::NoChain { .. } => Phase::Accept,
        Refusal::Denied { .. } | Refusal::NotAllowed { .. } | Refusal::CustomUnsupported { .. } => {
            Phase::Authorize
        }
        Refusal::UnknownHost { .. }
        | Refusal::NoRoute { .. }
        | Refusal::NoCluster { .. }
        | Refusal::NoEndpoint { .. }
        | Refusal::BlackHole { .. } => Phase::Route,
    }
}

/// The node that decided; for `NotAllowed` there are several, which go into `policies`.
fn origin(refusal: &Refusal) -> Option<&Origin> {
    match refusal {
        Refusal::PlaintextToStrict { origin }
        | Refusal::TlsNotAccepted { origin, .. }
        | Refusal::NoChain { origin, .. }
        | Refusal::Denied { origin }
        | Refusal::CustomUnsupported { origin }
        | Refusal::UnknownHost { origin, .. }
        | Refusal::NoRoute { origin, .. }
        | Refusal::NoCluster { origin, .. }
        | Refusal::NoEndpoint { origin, .. }
        | Refusal::BlackHole { origin, .. } => Some(origin),
        Refusal::NotAllowed { policies } => policies.first(),
        Refusal::NoListener { .. } => None,
    }
}
