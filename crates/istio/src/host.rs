//! Host names as Istio compares them: short names, leading wildcards, the most specific match.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The DNS domain of Kubernetes services; apart from the trust domain, though both default to this.
pub(crate) const DOMAIN: &str = "cluster.local";

/// The host of a Kubernetes Service.
pub(crate) fn full_name(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.svc.{DOMAIN}")
}

/// A host without a dot belongs to the namespace of the resource that names it; all else is kept as written.
pub(crate) fn expand(host: &str, namespace: &str) -> Arc<str> {
    if host.contains('.') || host == "*" || host.parse::<IpAddr>().is_ok() {
        host.into()
    } else {
        full_name(host, namespace).into()
    }
}

/// Is everything that `host` names also named by `pattern`? A wildcard is a leading `*`.
pub(crate) fn is_within(host: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), host.strip_prefix('*')) {
        (Some(suffix), Some(own)) => own.ends_with(suffix),
        (Some(suffix), None) => host.ends_with(suffix),
        (None, Some(_)) => false,
        (None, None) => host == pattern,
    }
}

/// Values by host pattern, asked for the most specific one.
#[derive(Clone, Debug)]
pub(crate) struct HostMap<T> {
    exact: HashMap<Arc<str>, T>,
    /// Suffix after the `*`, longest first.
    wildcards: Vec<(Arc<str>, T)>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcards: Vec::new() }
    }
}

impl<T> HostMap<T> {
    /// Keeps the value that was there first.
    pub(crate) fn insert(&mut self, pattern: &Arc<str>, value: T) {
        match pattern.strip_prefix('*') {
            None => {
                self.exact.entry(pattern.clone()).or_insert(value);
            }
            Some(suffix) => {
                let at = self.wildcards.partition_point(|(other, _)| other.len() > suffix.len());
                let same = self.wildcards[at..].iter().take_while(|(other, _)| other.len() == suffix.len());
                if !same.into_iter().any(|(other, _)| &**other == suffix) {
                    self.wildcards.insert(at, (suffix.into(), value));
                }
            }
        }
    }

    /// The value written for exactly this pattern.
    pub(crate) fn exact_mut(&mut self, pattern: &str) -> Option<&mut T> {
        match pattern.strip_prefix('*') {
            None => self.exact.get_mut(pattern),
            Some(suffix) => {
                self.wildcards.iter_mut().find(|(other, _)| &**other == suffix).map(|(_, value)| value)
            }
        }
    }

    /// Exact, else the longest wildcard around it. A wildcard is never answered by an exact entry.
    pub(crate) fn most_specific(&self, host: &str) -> Option<&T> {
        let wildcard =
            |own: &str| self.wildcards.iter().find(|(suffix, _)| own.ends_with(&**suffix)).map(|(_, v)| v);
        match host.strip_prefix('*') {
            Some(own) => wildcard(own),
            None => self.exact.get(host).or_else(|| wildcard(host)),
        }
    }
}

/// Is it a host that a resource may name: letters, digits, `-`, `_` and dots, with at most a wildcard in front?
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(host: &str) -> Result<(), String> {
    if host.is_empty() || host.len() > 255 {
        return Err(format!("host {host:?} must have 1 to 255 characters"));
    }
    if host.parse::<IpAddr>().is_ok() {
        return Err(format!("host {host:?} is an address; write a DNS name"));
    }
    let rest = host.strip_prefix('*').unwrap_or(host);
    if rest.contains('*') {
        return Err(format!("host {host:?} may have a `*` only at its beginning"));
    }
    let legal = |label: &str| {
        label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let mut labels = rest.strip_prefix('.').filter(|_| host.starts_with('*')).unwrap_or(rest).split('.');
    if host != "*" && !labels.all(|label| !label.is_empty() && legal(label)) {
        return Err(format!("host {host:?} is no DNS name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_dot_belongs_to_its_namespace_and_nothing_else_is_completed() {
        for (host, full) in [
            ("orders", "orders.shop.svc.cluster.local"),
            ("orders.shop", "orders.shop"),
            ("*", "*"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(&*expand(host, "shop"), full);
        }
    }

    #[test]
    fn a_wildcard_covers_what_ends_so() {
        for (host, pattern, within) in [
            ("a.foo.com", "*.foo.com", true),
            ("a.b.foo.com", "*.foo.com", true),
            ("foo.com", "*.foo.com", false),
            ("foo.com", "*foo.com", true),
            ("barfoo.com", "*foo.com", true),
            ("*.a.foo.com", "*.foo.com", true),
            ("*.com", "*.foo.com", false),
            ("*.foo.com", "a.foo.com", false),
            ("A.foo.com", "a.foo.com", false),
            ("anything", "*", true),
        ] {
            assert_eq!(is_within(host, pattern), within, "{host} in {pattern}");
        }
    }

    #[test]
    fn the_most_specific_entry_is_exact_then_the_longest_wildcard() {
        let mut map = HostMap::default();
        for pattern in ["*.com", "a.foo.com", "*.foo.com", "*"] {
            map.insert(&pattern.into(), pattern);
        }
        map.insert(&"*.foo.com".into(), "a second one");
        for (host, found) in [
            ("a.foo.com", "a.foo.com"),
            ("b.foo.com", "*.foo.com"),
            ("foo.com", "*.com"),
            ("x", "*"),
            ("*.foo.com", "*.foo.com"),
        ] {
            assert_eq!(map.most_specific(host), Some(&found), "{host}");
        }
        let mut exact_only = HostMap::default();
        exact_only.insert(&"a.foo.com".into(), 1);
        assert_eq!(exact_only.most_specific("*.foo.com"), None);
    }

    #[test]
    fn a_host_has_at_most_one_star_in_front() {
        for good in ["*", "*.x", "*foo", "*-foo.bar", "a.b", "orders", "a_b.c"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "a.*.b", "**", "10.0.0.1", "::1", "a..b", "*.", "a b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
