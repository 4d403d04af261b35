//! The immutable `Snapshot` and every pure decision over it: `accept`, `authorize`, `route`, `dial`, `pick`.
//! No I/O, no async, no YAML, no clocks, no random numbers, no globals: references in, a value out that holds
//! everything the act needs. Two producers fill a Snapshot: the compiler of Istio YAML, and later an xDS decoder.
#![forbid(unsafe_code)]

mod accept;
#[cfg(test)]
mod allocation;
mod authorize;
mod chains;
mod cluster;
mod dial;
mod evaluate;
mod facts;
mod index;
mod matcher;
mod origin;
mod path;
mod pick;
mod re2;
mod refusal;
mod remedy;
mod route;
mod rule;
#[cfg(test)]
mod sample;
mod snapshot;
mod token;

pub use accept::{Needs, accept, needs};
pub use authorize::{
    Authorization, HeaderLookup, Permit, RequestFacts, authorize, authorize_tcp, dry_run, dry_run_tcp,
};
pub use chains::Chains;
pub use cluster::{
    Address, BalancerKind, ClientCertificate, Cluster, Discovery, Endpoint, Inside, Sni, Trust, UpstreamAlpn,
    UpstreamTls,
};
pub use dial::dial;
pub use facts::{Destination, Facts, Peer, Transport};
pub use matcher::{FullRegex, StringMatch};
pub use origin::{Origin, Position};
pub use path::{PathNormalization, normalize_path, path_of};
pub use pick::{Load, pick};
pub use refusal::Refusal;
pub use remedy::{Answer, Answered, Asked, Case, Change, EachValue, Remedy, remedies};
pub use route::{
    HeaderEdit, HeaderEdits, HeaderMatch, HostRewrite, PathMatch, Route, RouteAction, RouteMatch,
    RouteRequest, RouteTable, Routed, UnknownHost, VirtualHost, WeightedCluster, route,
};
pub use rule::{Allow, Clause, Matcher, PathPattern, PathTemplate, Rule, RuleSet, TemplateError};
pub use snapshot::{
    BindAddress, Chain, ChainMatch, Direction, DownstreamTls, Filter, Listener, Map, Snapshot, TlsVersion,
    Version,
};
pub use token::{Claim, Claims, Token};
