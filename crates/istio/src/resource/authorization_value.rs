//! The attributes that AuthorizationPolicy rules ask about, and which values each takes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sidering_policy::PathPattern;

/// What a field or a `when` key asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Principal,
    RequestPrincipal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    SourceIp,
    RemoteIp,
    DestinationIp,
    Port,
    Host,
    Method,
    Path,
    /// Lower case.
    Header(Arc<str>),
    ServerName,
    /// `request.auth.*`: of a verified token, the path of the claim.
    Claim(Arc<[Arc<str>]>),
}

/// Fields of `source`, each with its negative form.
pub(crate) const SOURCE_FIELDS: &[(&str, &str, Attribute)] = &[
    ("principals", "notPrincipals", Attribute::Principal),
    ("requestPrincipals", "notRequestPrincipals", Attribute::RequestPrincipal),
    ("namespaces", "notNamespaces", Attribute::Namespace),
    ("serviceAccounts", "notServiceAccounts", Attribute::ServiceAccount),
    ("trustDomains", "notTrustDomains", Attribute::TrustDomain),
    ("ipBlocks", "notIpBlocks", Attribute::SourceIp),
    ("remoteIpBlocks", "notRemoteIpBlocks", Attribute::RemoteIp),
];

/// Fields of `operation`, each with its negative form.
pub(crate) const OPERATION_FIELDS: &[(&str, &str, Attribute)] = &[
    ("hosts", "notHosts", Attribute::Host),
    ("ports", "notPorts", Attribute::Port),
    ("methods", "notMethods", Attribute::Method),
    ("paths", "notPaths", Attribute::Path),
];

impl Attribute {
    /// The attribute of a `when` key.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn of_key(key: &str) -> Result<Self, String> {
        let bracketed =
            |prefix: &str| key.strip_prefix(prefix)?.strip_suffix(']').filter(|name| !name.is_empty());
        if let Some(name) = bracketed("request.headers[") {
            // Others, such as `:path`, would be compared with what was not normalised.
            if name.starts_with(':')
                && ![":method", ":authority"].iter().any(|known| name.eq_ignore_ascii_case(known))
            {
                return Err(format!(
                    "{name:?} is no header of HTTP/1.1; write paths, methods or hosts in `to`"
                ));
            }
            return Ok(Self::Header(name.to_ascii_lowercase().into()));
        }
        if let Some(path) = bracketed("request.auth.claims[") {
            let path: Vec<Arc<str>> = path.split("][").map(Arc::from).collect();
            return match path.iter().any(|name| name.is_empty() || name.contains(['[', ']'])) {
                true => Err(format!("{key:?} names no claim; write request.auth.claims[NAME][INNER]")),
                false => Ok(Self::Claim(path.into())),
            };
        }
        Ok(match key {
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::Namespace,
            "source.serviceAccount" => Self::ServiceAccount,
            "source.principal" => Self::Principal,
            "source.trustDomain" => Self::TrustDomain,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Claim(["aud".into()].into()),
            "request.auth.presenter" => Self::Claim(["azp".into()].into()),
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::Port,
            "connection.sni" => Self::ServerName,
            _ => {
                return Err(format!(
                    "condition key {key:?} is not supported; write request.headers[NAME], source.ip, remote.ip, \
                     source.namespace, source.serviceAccount, source.principal, source.trustDomain, \
                     request.auth.principal, request.auth.audiences, request.auth.presenter, \
                     request.auth.claims[NAME], destination.ip, destination.port or connection.sni"
                ));
            }
        })
    }

    /// Namespaces are patterns of their own: any `*` in them, not only one at either end.
    pub(crate) fn needs_regex(&self, value: &str) -> bool {
        let inner = value.strip_prefix('*').or_else(|| value.strip_suffix('*')).unwrap_or(value);
        *self == Self::Namespace && inner.contains('*')
    }

    /// Known only of an HTTP request.
    pub(crate) fn is_http_only(&self) -> bool {
        match self {
            Self::RequestPrincipal
            | Self::Host
            | Self::Method
            | Self::Path
            | Self::Header(_)
            | Self::Claim(_) => true,
            Self::Principal
            | Self::Namespace
            | Self::ServiceAccount
            | Self::TrustDomain
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::Port
            | Self::ServerName => false,
        }
    }

    /// Of a token: tokens are not verified yet.
    pub(crate) fn needs_token(&self) -> bool {
        matches!(self, Self::RequestPrincipal | Self::Claim(_))
    }

    /// Of the peer's identity or a token: not for CUSTOM.
    pub(crate) fn is_identity(&self) -> bool {
        self.needs_token()
            || matches!(self, Self::Principal | Self::Namespace | Self::ServiceAccount | Self::TrustDomain)
    }

    /// May this value be asked for?
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Self::SourceIp | Self::RemoteIp | Self::DestinationIp => match parse_net(value) {
                Some(_) => Ok(()),
                None => Err(format!(
                    "{value:?} is neither an IP address nor a CIDR block; write 10.0.0.1 or 10.0.0.0/8"
                )),
            },
            Self::Port => match value.parse::<u16>() {
                Ok(_) => Ok(()),
                Err(_) => Err(format!("port {value:?} must be a number from 0 to 65535")),
            },
            Self::Path => PathPattern::parse(value).map(drop).map_err(|error| error.to_string()),
            Self::ServiceAccount => check_account(value),
            Self::Namespace if value.len() > 253 => {
                Err(format!("a namespace has at most 253 characters, not {}", value.len()))
            }
            Self::TrustDomain if value.contains('/') => Err(format!(
                "trust domain {value:?} must not hold a `/`; write principals for whole identities"
            )),
            _ => Ok(()),
        }
    }
}

/// An address, or a block of them.
pub(crate) fn parse_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn check_account(value: &str) -> Result<(), String> {
    let parts: Vec<&str> = value.split('/').collect();
    if value.len() > 320 {
        return Err(format!("service account {value:?} is longer than 320 characters"));
    }
    if value.contains('*') {
        return Err(format!(
            "service account {value:?}: wildcards are not supported; write namespace/account"
        ));
    }
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
        return Err(format!("service account {value:?} must be written account or namespace/account"));
    }
    Ok(())
}
