//! Why a decision said no. Closed: `proxy` turns each into a Reason, exhaustively.

use std::sync::Arc;

use crate::Origin;

/// A decision against a connection or request, with the node that decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The listener is not in the Snapshot (any more).
    #[error("no listener {listener} any more")]
    NoListener {
        /// Its name.
        listener: Arc<str>,
    },
    /// Plaintext where every chain of the port wants mTLS: STRICT.
    #[error("plaintext, and {origin} wants mutual TLS")]
    PlaintextToStrict {
        /// Who made it STRICT.
        origin: Origin,
    },
    /// TLS that no chain of the port takes: ordinary TLS to a PERMISSIVE HTTP port, or TLS where it is disabled.
    #[error("TLS that no chain of port {port} takes ({origin})")]
    TlsNotAccepted {
        /// Destination port.
        port: u16,
        /// Who decided the mode.
        origin: Origin,
    },
    /// No chain is for that port, or none for what was sniffed there; or it is the capture port itself.
    #[error("nothing is configured for such a connection to port {port}")]
    NoChain {
        /// Destination port.
        port: u16,
        /// The chain's resource, else the listener's.
        origin: Origin,
    },
    /// A DENY rule matched.
    #[error("denied by {origin}")]
    Denied {
        /// The rule.
        origin: Origin,
    },
    /// ALLOW policies are in force and none matched.
    #[error("no ALLOW rule matches")]
    NotAllowed {
        /// The policies that would have had to allow it.
        policies: Arc<[Origin]>,
    },
    /// A CUSTOM rule matched and its provider is not supported.
    #[error("denied by {origin}: its provider is not supported")]
    CustomUnsupported {
        /// The rule.
        origin: Origin,
    },
    /// The Host header names no virtual host.
    #[error("no virtual host is named {host:?}")]
    UnknownHost {
        /// As sent.
        host: Box<str>,
        /// True under REGISTRY_ONLY: 502 instead of 404.
        blackhole: bool,
        /// The listener's resource.
        origin: Origin,
    },
    /// The virtual host has no route that matches.
    #[error("no route of {virtual_host} matches")]
    NoRoute {
        /// Its name.
        virtual_host: Arc<str>,
        /// Its resource.
        origin: Origin,
    },
    /// A route names a cluster that does not exist, such as an undefined subset.
    #[error("there is no cluster {cluster}")]
    NoCluster {
        /// Its name.
        cluster: Arc<str>,
        /// The route.
        origin: Origin,
    },
    /// The cluster has no endpoint (left).
    #[error("{cluster} has no endpoint")]
    NoEndpoint {
        /// Its name.
        cluster: Arc<str>,
        /// Its resource.
        origin: Origin,
    },
    /// The cluster leads nowhere, by policy.
    #[error("{cluster} leads nowhere")]
    BlackHole {
        /// Its name.
        cluster: Arc<str>,
        /// Who said so.
        origin: Origin,
    },
}
