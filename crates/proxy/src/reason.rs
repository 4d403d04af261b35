//! The one table of reasons: why a connection or request was refused or failed. Metrics, records, the access log,
//! replies and `explain` read it; docs/reasons.md has a row for each. The conversions from what lower crates say are
//! in `reason/from.rs`.

mod from;

use std::fmt;

use serde::{Serialize, Serializer};

/// One line per reason: variant, name, HTTP status (0: there is no reply to give), Envoy's response flag, whether
/// another endpoint may be tried, whether the reply is the connection's last.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal $status:literal $flag:literal $retryable:literal $closes:literal;)*) => {
        /// Why a connection or request was refused or failed. Closed: no refusal without its row here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the table's order: a reason's index is its discriminant.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name, status: $status, flag: $flag, retryable: $retryable, closes: $closes,
                    },)*
                }
            }
        }
    };
}

struct Row {
    name: &'static str,
    status: u16,
    flag: &'static str,
    retryable: bool,
    closes: bool,
}

reasons! {
    // ---- accept
    /// The listener left the configuration.
    NoListener "no-listener" 0 "NR" false true;
    /// Plaintext where mutual TLS is required.
    PlaintextToStrict "plaintext-to-strict" 0 "NR" false true;
    /// TLS that no chain of the port takes.
    TlsNotAccepted "tls-not-accepted" 0 "NR" false true;
    /// Nothing is configured for the port.
    NoChain "no-chain" 0 "NR" false true;
    /// The connection was aimed at our own capture port: it would loop.
    OwnPort "own-port" 0 "NR" false true;
    /// There are no credentials yet, and the chain or the upstream needs them.
    NoCredentials "no-credentials" 503 "UF" false false;
    /// We are shutting down.
    Draining "draining" 0 "UO" false true;

    // ---- sniff
    /// It began like a ClientHello and was none.
    MalformedClientHello "malformed-client-hello" 0 "DPE" false true;

    // ---- handshake, with either side
    /// The client presented no certificate.
    NoClientCertificate "no-client-certificate" 503 "UF" true false;
    /// The certificate does not chain to the trust bundle.
    UnknownCa "unknown-ca" 503 "UF" true false;
    /// The certificate has expired.
    CertificateExpired "certificate-expired" 503 "UF" true false;
    /// The certificate is not valid yet.
    CertificateNotYetValid "certificate-not-yet-valid" 503 "UF" true false;
    /// The certificate is not meant for this use.
    CertificateWrongUsage "certificate-wrong-usage" 503 "UF" true false;
    /// The certificate of an ordinary TLS server does not carry the host's name.
    CertificateNameMismatch "certificate-name-mismatch" 503 "UF" true false;
    /// The certificate cannot be read, or its signature is wrong.
    CertificateInvalid "certificate-invalid" 503 "UF" true false;
    /// The peer sent an alert: it refused us.
    PeerAlert "peer-alert" 503 "UF" true false;
    /// No protocol version, cipher suite or group in common.
    NoSharedParameters "no-shared-parameters" 503 "UF" true false;
    /// The peer does not speak TLS.
    NotTls "not-tls" 503 "UF" true false;
    /// The peer closed in the middle of a TLS handshake or record.
    TlsTruncated "tls-truncated" 503 "UF" true false;
    /// The handshake took too long.
    HandshakeTimeout "handshake-timeout" 503 "UF" true false;
    /// The handshake failed in another way.
    HandshakeFailed "handshake-failed" 503 "UF" true false;

    // ---- naming
    /// The certificate has no SPIFFE id.
    NoSpiffeId "no-spiffe-id" 503 "UF" true false;
    /// The certificate has more than one URI name.
    ManyUriNames "many-uri-names" 503 "UF" true false;
    /// The peer's trust domain is not one of ours.
    TrustDomainMismatch "trust-domain-mismatch" 503 "UF" true false;
    /// Secure naming: the server is somebody, but nobody who may run this service.
    SecureNamingMismatch "secure-naming-mismatch" 503 "UF" true false;

    // ---- authorize
    /// A DENY rule matched.
    DeniedByPolicy "denied-by-policy" 403 "-" false false;
    /// ALLOW policies are in force and none matched.
    NotAllowedByPolicy "not-allowed-by-policy" 403 "-" false false;
    /// A CUSTOM rule matched and its provider is not supported.
    CustomUnsupported "custom-unsupported" 403 "UAEX" false false;

    // ---- route
    /// No virtual host has that name.
    UnknownHost "unknown-host" 404 "NR" false false;
    /// No virtual host has that name, and only registered hosts may be reached.
    HostNotRegistered "host-not-registered" 502 "-" false false;
    /// No route of the virtual host matches.
    NoRoute "no-route" 404 "NR" false false;
    /// The route's cluster does not exist, such as an undefined subset.
    NoCluster "no-cluster" 503 "NC" false false;
    /// The cluster has no endpoint.
    NoEndpoint "no-endpoint" 503 "UH" false false;
    /// The cluster leads nowhere, by policy.
    BlackHole "black-hole" 502 "-" false false;

    // ---- connect
    /// Nothing listens there.
    ConnectRefused "connect-refused" 503 "UF" true false;
    /// There is no way there.
    ConnectUnreachable "connect-unreachable" 503 "UF" true false;
    /// The connection was not established in time.
    ConnectTimeout "connect-timeout" 503 "UF" true false;
    /// The peer reset the connection.
    ConnectionReset "connection-reset" 503 "UC" true false;
    /// This process is out of descriptors, ports or memory.
    Exhausted "exhausted" 503 "UF" false false;
    /// The operating system refused for another reason.
    OsError "os-error" 503 "UF" true false;

    // ---- HTTP, and relay
    /// The client's request is malformed.
    MalformedRequest "malformed-request" 400 "DPE" false true;
    /// The request's head is larger than the limit.
    HeadersTooLarge "headers-too-large" 431 "DPE" false true;
    /// The path cannot be normalised.
    MalformedPath "malformed-path" 400 "DPE" false false;
    /// The request uses a protocol version that the port does not speak.
    UnsupportedVersion "unsupported-version" 505 "DPE" false true;
    /// The request asks for something that we do not do yet.
    NotImplemented "not-implemented" 501 "DPE" false true;
    /// The client did not send its request's head or body in time.
    RequestTimeout "request-timeout" 408 "DI" false true;
    /// The upstream closed before it answered.
    UpstreamClosed "upstream-closed" 503 "UC" true false;
    /// The upstream's response is malformed.
    MalformedResponse "malformed-response" 502 "UPE" false false;
    /// The upstream did not answer in time.
    UpstreamTimeout "upstream-timeout" 504 "UT" false false;
    /// The client went away before the exchange was complete.
    DownstreamClosed "downstream-closed" 0 "DC" false true;
    /// Nothing moved for as long as the idle timeout.
    IdleTimeout "idle-timeout" 0 "SI" false true;
    /// A new configuration no longer takes this connection.
    ConfigurationChanged "configuration-changed" 0 "DC" false true;
    /// The peer no longer verifies: the bundle or the trust domains changed.
    PeerNoLongerTrusted "peer-no-longer-trusted" 0 "DC" false true;
    /// The drain's time was up.
    DrainTimeout "drain-timeout" 0 "DC" false true;
}

impl Reason {
    /// Stable, kebab-case: the key of metrics, logs and docs/reasons.md.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// HTTP status of the reply; `None` where the connection is closed without one.
    pub const fn status(self) -> Option<u16> {
        match self.row().status {
            0 => None,
            status => Some(status),
        }
    }

    /// gRPC status for that reply, as Envoy maps it from the HTTP status.
    pub const fn grpc_status(self) -> u8 {
        match self.row().status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        }
    }

    /// Envoy's response flag, `-` where Envoy sets none.
    pub const fn flag(self) -> &'static str {
        self.row().flag
    }

    /// May another endpoint be tried, if the request can be sent again?
    pub const fn retryable(self) -> bool {
        self.row().retryable
    }

    /// Is the downstream connection closed after the reply? Not where an upstream was at fault, as with Envoy.
    pub const fn closes(self) -> bool {
        self.row().closes
    }

    /// The body of the reply: Istio's text where users' tests look for it, else the reason's name and no detail.
    pub fn body(self) -> String {
        match self {
            Self::DeniedByPolicy | Self::NotAllowedByPolicy | Self::CustomUnsupported => {
                "RBAC: access denied".into()
            }
            Self::HostNotRegistered | Self::BlackHole => String::new(),
            other => format!("sidering: {}", other.name()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests;
