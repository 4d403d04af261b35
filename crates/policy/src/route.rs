//! HTTP routing: virtual host by Host header, then the first route that matches.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::{Cluster, HeaderLookup, Map, Origin, Refusal, Snapshot, StringMatch, dial};

/// The virtual hosts of a chain.
#[derive(Clone, Debug)]
pub struct RouteTable {
    /// For people: `80`, `inbound|8080||`.
    pub name: Arc<str>,
    /// Lower-case domain without port to host.
    pub exact: Map<Arc<str>, Arc<VirtualHost>>,
    /// Suffixes of `*suffix` domains, longest first.
    pub suffixes: Vec<(Arc<str>, Arc<VirtualHost>)>,
    /// `*`: all that an inbound chain has; outbound under ALLOW_ANY a route to `PassthroughCluster`, where traffic is
    /// captured and so has an address that was dialled.
    pub any: Option<Arc<VirtualHost>>,
    /// What a Host that none names gets.
    pub unknown: UnknownHost,
    /// The resource that made it.
    pub origin: Origin,
}

/// What a request with an unknown Host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownHost {
    /// REGISTRY_ONLY: 502.
    BlackHole,
    /// 404.
    NotFound,
}

/// The routes of some domains.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// For people: `orders.shop.svc.cluster.local:8080`.
    pub name: Arc<str>,
    /// The first that matches is taken.
    pub routes: Vec<Route>,
    /// The resource that made it.
    pub origin: Origin,
}

/// A match and what to do then.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Debug)]
pub struct PathMatch {
    /// Exact, prefix or regex.
    pub value: StringMatch,
    /// `ignoreUriCase`: exact and prefix only.
    pub ignore_case: bool,
}

/// A test of one header.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Lower case; `:method`, `:authority` (also called `host`) and `:scheme` included.
    pub name: Arc<str>,
    /// `None` asks only for presence.
    pub value: Option<StringMatch>,
    /// `withoutHeaders`: holds when the test does not; a missing header counts as empty.
    pub inverted: bool,
}

/// What a route does.
#[derive(Clone, Debug)]
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

/// One step of [`HeaderEdits`]: a lower-case name, and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderEdit<'a> {
    /// Every value goes.
    Remove(&'a str),
    /// This value replaces every other.
    Set(&'a str, &'a str),
    /// This value joins.
    Add(&'a str, &'a str),
}

impl HeaderEdits {
    /// What is done, in order.
    pub fn steps(&self) -> impl Iterator<Item = HeaderEdit<'_>> {
        let remove = self.remove.iter().map(|name| HeaderEdit::Remove(name));
        let set = self.set.iter().map(|(name, value)| HeaderEdit::Set(name, value));
        let add = self.add.iter().map(|(name, value)| HeaderEdit::Add(name, value));
        remove.chain(set).chain(add)
    }
}

/// What routing reads of a request.
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
    pub header: HeaderLookup<'a>,
}

/// What a route decided.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// The route taken.
    pub route: &'a Route,
    /// The cluster chosen by weight; absent for direct responses.
    pub cluster: Option<&'a Arc<Cluster>>,
}

/// Chooses the route of a request. `entropy` decides between weights.
///
/// # Errors
/// [`Refusal::UnknownHost`], [`Refusal::NoRoute`], [`Refusal::NoCluster`], [`Refusal::BlackHole`].
pub fn route<'a>(
    snapshot: &'a Snapshot,
    table: &'a RouteTable,
    request: &RouteRequest<'_>,
    entropy: u64,
) -> Result<Routed<'a>, Refusal> {
    let host = virtual_host(table, request.authority).ok_or_else(|| Refusal::UnknownHost {
        host: request.authority.into(),
        blackhole: table.unknown == UnknownHost::BlackHole,
        origin: table.origin.clone(),
    })?;
    let takes =
        |route: &&Route| route.matches.is_empty() || route.matches.iter().any(|entry| entry.holds(request));
    let route = host
        .routes
        .iter()
        .find(takes)
        .ok_or_else(|| Refusal::NoRoute { virtual_host: host.name.clone(), origin: host.origin.clone() })?;
    let cluster = match &route.action {
        RouteAction::Forward { clusters, .. } => Some(dial(snapshot, clusters, &route.origin, entropy)?),
        RouteAction::Respond { .. } => None,
    };
    Ok(Routed { route, cluster })
}

/// The exact name, then the longest suffix, then `*`. Case and port do not count.
pub(crate) fn virtual_host<'a>(table: &'a RouteTable, authority: &str) -> Option<&'a Arc<VirtualHost>> {
    let host = without_port(authority);
    let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    let ends =
        |(suffix, _): &&(Arc<str>, Arc<VirtualHost>)| host.len() > suffix.len() && host.ends_with(&**suffix);
    table
        .exact
        .get(&*host)
        .or_else(|| table.suffixes.iter().find(ends).map(|(_, found)| found))
        .or(table.any.as_ref())
}

/// `host:80` and `[::1]:80` without `:80`.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !is_bare_ipv6(host) => host,
        _ => authority,
    }
}

/// The colon was one of an IPv6 address without brackets.
fn is_bare_ipv6(host: &str) -> bool {
    host.contains(':') && !host.ends_with(']')
}

impl RouteMatch {
    fn holds(&self, request: &RouteRequest<'_>) -> bool {
        let value = |test: &Option<StringMatch>, text| test.as_ref().is_none_or(|test| test.matches(text));
        value(&self.method, request.method)
            && value(&self.authority, request.authority)
            && value(&self.scheme, request.scheme)
            && self.path.as_ref().is_none_or(|path| path.holds(request.path))
            && self.headers.iter().all(|header| header.holds(request))
    }
}

impl PathMatch {
    pub(crate) fn holds(&self, path: &str) -> bool {
        match &self.value {
            value @ (StringMatch::Exact(_) | StringMatch::Prefix(_)) if self.ignore_case => {
                value.matches_ignoring_case(path)
            }
            value => value.matches(path),
        }
    }
}

impl HeaderMatch {
    pub(crate) fn holds(&self, request: &RouteRequest<'_>) -> bool {
        let matches = |text: &[u8]| self.value.as_ref().is_none_or(|value| value.matches(text));
        let found = match &*self.name {
            ":authority" | "host" => Some(matches(request.authority.as_bytes())),
            ":method" => Some(matches(request.method.as_bytes())),
            ":scheme" => Some(matches(request.scheme.as_bytes())),
            name => self.found(request, name, matches),
        };
        match (&self.value, found, self.inverted) {
            (_, Some(found), inverted) => found != inverted,
            (Some(value), None, true) => !value.matches(""),
            (None, None, inverted) => inverted,
            (Some(_), None, false) => false,
        }
    }

    /// Whether a header of the request matches; `None`: there is none.
    fn found(&self, request: &RouteRequest<'_>, name: &str, matches: impl Fn(&[u8]) -> bool) -> Option<bool> {
        let (mut values, mut first) = (0, false);
        (request.header)(name, &mut |value| {
            values += 1;
            if values == 1 {
                first = matches(value);
            }
        });
        match values {
            0 => None,
            1 => Some(first),
            _ => joined(request.header, name).map(|all| matches(&all)),
        }
    }
}

/// The header's values joined by commas, which is what a repeated header means (RFC 9110 5.3). `None`: there is none.
pub(crate) fn joined(header: HeaderLookup<'_>, name: &str) -> Option<Vec<u8>> {
    let mut all: Option<Vec<u8>> = None;
    header(name, &mut |value| match &mut all {
        None => all = Some(value.to_vec()),
        Some(all) => {
            all.push(b',');
            all.extend_from_slice(value);
        }
    });
    all
}

#[cfg(test)]
mod tests;
