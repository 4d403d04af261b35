//! HTTP routing: virtual host by Host header, then the first route that matches (istio-semantics 6.3).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{Origin, Refusal, Snapshot, StringMatch};

/// The virtual hosts of a chain.
#[derive(Debug)]
pub struct RouteTable {
    /// For people: `80`, `inbound|8080||`.
    pub name: Arc<str>,
    /// Lower-case domain without port to host.
    pub exact: HashMap<Arc<str>, Arc<VirtualHost>>,
    /// Suffixes of `*suffix` domains, longest first.
    pub suffixes: Vec<(Arc<str>, Arc<VirtualHost>)>,
    /// `*`: inbound chains have only this.
    pub any: Option<Arc<VirtualHost>>,
    /// What a Host that none names gets.
    pub unknown: UnknownHost,
    /// The resource that made it.
    pub origin: Origin,
}

/// What a request with an unknown Host gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownHost {
    /// ALLOW_ANY: forwarded to the address that was dialled. Without capture there is none: the refusal is `NoRoute`.
    Passthrough(Arc<str>),
    /// REGISTRY_ONLY: 502.
    BlackHole,
    /// 404.
    NotFound,
}

/// The routes of some domains.
#[derive(Debug)]
pub struct VirtualHost {
    /// For people: `orders.shop.svc.cluster.local:8080`.
    pub name: Arc<str>,
    /// The first that matches is taken.
    pub routes: Vec<Route>,
    /// The resource that made it.
    pub origin: Origin,
}

/// A match and what to do then.
#[derive(Debug)]
pub struct Route {
    /// As in VirtualService `http[].name`; may be empty.
    pub name: Arc<str>,
    /// Any of these; empty matches everything.
    pub matches: Vec<RouteMatch>,
    /// What is done.
    pub action: RouteAction,
    /// Edits of the request's headers.
    pub request_headers: HeaderEdits,
    /// Edits of the response's headers.
    pub response_headers: HeaderEdits,
    /// The whole exchange; `None` is no limit.
    pub timeout: Option<Duration>,
    /// The resource, its rule and its line.
    pub origin: Origin,
}

/// All parts must hold.
#[derive(Debug, Default)]
pub struct RouteMatch {
    /// The path without its query.
    pub path: Option<PathMatch>,
    /// Each with its own test.
    pub headers: Vec<HeaderMatch>,
    /// `:method`.
    pub method: Option<StringMatch>,
    /// `:authority`, port included.
    pub authority: Option<StringMatch>,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
}

/// A test of the path.
#[derive(Debug)]
pub struct PathMatch {
    /// Exact, prefix or regex. With `ignore_case`, exact and prefix texts are lower case.
    pub value: StringMatch,
    /// `ignoreUriCase`: exact and prefix only.
    pub ignore_case: bool,
}

/// A test of one header.
#[derive(Debug)]
pub struct HeaderMatch {
    /// Lower case; `:method` and `:authority` included.
    pub name: Arc<str>,
    /// `None` asks only for presence.
    pub value: Option<StringMatch>,
    /// `withoutHeaders`: holds when the test does not; a missing header counts as empty.
    pub inverted: bool,
}

/// What a route does.
#[derive(Debug)]
pub enum RouteAction {
    /// Forward to one of these, by weight.
    Forward {
        /// At least one.
        clusters: Vec<WeightedCluster>,
        /// Another authority upstream.
        host: Option<HostRewrite>,
    },
    /// `directResponse`, `fault.abort`.
    Respond {
        /// HTTP status.
        status: u16,
        /// Body; empty for none.
        body: Arc<str>,
    },
}

/// Another `Host` towards the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRewrite(pub Arc<str>);

/// One destination of a split.
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// Name of the cluster; one that does not exist is `503 NC`.
    pub cluster: Arc<str>,
    /// Relative share.
    pub weight: u32,
}

/// Header edits, in this order: remove, set, add.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Lower-case names.
    pub remove: Vec<Arc<str>>,
    /// Replaces every value.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Appends a value.
    pub add: Vec<(Arc<str>, Arc<str>)>,
}

/// What routing reads of a request. Headers come through a function, so that `http`'s own form is not copied.
pub struct RouteRequest<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:authority`, as sent.
    pub authority: &'a str,
    /// `:scheme`.
    pub scheme: &'a str,
    /// The normalised path without its query.
    pub path: &'a str,
    /// Every value of a header, by lower-case name, in order.
    pub header: &'a dyn Fn(&str, &mut dyn FnMut(&str)),
}

/// What a route decided.
pub struct Routed<'a> {
    /// The route taken.
    pub route: &'a Route,
    /// The cluster chosen by weight; absent for direct responses.
    pub cluster: Option<&'a Arc<str>>,
}

/// Chooses the route of a request. `entropy` decides between weights.
///
/// # Errors
/// [`Refusal::UnknownHost`], [`Refusal::NoRoute`].
pub fn route<'a>(
    _snapshot: &'a Snapshot,
    _table: &'a RouteTable,
    _request: &RouteRequest<'_>,
    _entropy: u64,
) -> Result<Routed<'a>, Refusal> {
    todo!("policy")
}
