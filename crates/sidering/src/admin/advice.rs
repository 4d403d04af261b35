//! What helps where no change of policy would have: the fact is on the other side, or on this machine.

use sidering_proxy::{Reason, Record};

/// What to do, and what to run. `None`: the configuration decided, and is asked again instead.
pub(super) fn advice(record: &Record, roots: &[String]) -> Option<String> {
    let upstream = record.upstream.as_deref().unwrap_or("the upstream");
    let other = match (&record.upstream, record.peer) {
        (Some(upstream), _) => upstream.clone(),
        (None, Some(peer)) => peer.to_string(),
        (None, None) => "the other side".to_owned(),
    };
    let listed = match &record.origin {
        Some(origin) => format!(", or correct its address in {origin}"),
        None => String::new(),
    };
    let text = match record.reason {
        Reason::NoListener
        | Reason::PlaintextToStrict
        | Reason::TlsNotAccepted
        | Reason::NoChain
        | Reason::NoSpiffeId
        | Reason::ManyUriNames
        | Reason::TrustDomainMismatch
        | Reason::SecureNamingMismatch
        | Reason::DeniedByPolicy
        | Reason::NotAllowedByPolicy
        | Reason::CustomUnsupported
        | Reason::UnknownHost
        | Reason::HostNotRegistered
        | Reason::NoRoute
        | Reason::NoCluster
        | Reason::NoEndpoint
        | Reason::BlackHole => return None,
        Reason::OwnPort => "Dial the service, not the port to which this sidecar's traffic is redirected; if nothing dialled that port, the redirection takes in what it should leave out.".to_owned(),
        Reason::NoCredentials => "No certificate or trust bundle is in force yet: `sidering certs` and `sidering status` say what `identity` of the bootstrap file has brought.".to_owned(),
        Reason::Draining => "This sidecar was shutting down: try again elsewhere.".to_owned(),
        Reason::MalformedClientHello => format!("{other} sent what begins like a ClientHello and is none: try it with `openssl s_client -connect`."),
        Reason::NoClientCertificate => format!("{other} spoke TLS without a certificate: give it a sidecar, or a DestinationRule with mode ISTIO_MUTUAL."),
        Reason::UnknownCa => format!("This sidecar trusts {}, and none of them signed the certificate of {other}. `sidering certs` on both sides shows who signs and who is trusted; put each side's root into the other's bundle.", listed_roots(roots)),
        Reason::CertificateExpired => format!("Renew the certificate of {other}; if it was renewed, that side has not loaded it: `sidering certs` there shows what it presents."),
        Reason::CertificateNotYetValid => format!("Compare `date` here and at {other}: a clock is wrong, or the certificate was issued for later."),
        Reason::CertificateWrongUsage => format!("Issue the certificate of {other} with the extended key usages serverAuth and clientAuth."),
        Reason::CertificateNameMismatch => format!("The certificate of {other} is for another host: `openssl s_client -connect {upstream} -showcerts` shows for which; set `sni` or `subjectAltNames` in the DestinationRule, or have the certificate issued for this one."),
        Reason::CertificateInvalid => format!("The certificate of {other} is damaged, or signed by the wrong key: `openssl verify` there."),
        Reason::PeerAlert => format!("{other} refused this side and has it on record: `sidering explain last` there, or its log."),
        Reason::NoSharedParameters => format!("Compare `meshMTLS.minProtocolVersion` and `cipherSuites` here and at {other}."),
        Reason::NotTls => format!("{other} does not speak TLS: give it a sidecar, or set `tls.mode: DISABLE` where TLS was chosen."),
        Reason::TlsTruncated => format!("{other} closed in the middle: its log says why, if it was not killed."),
        Reason::HandshakeTimeout => format!("{other} takes connections and does not answer: look at its load."),
        Reason::HandshakeFailed => format!("The record has the TLS library's own words: try {other} with `openssl s_client -connect`."),
        Reason::ConnectRefused => format!("Nothing listens at {upstream} (`ss -ltn` there): start it{listed}."),
        Reason::ConnectUnreachable => format!("There is no way to {upstream} (`ip route get`): repair the network{listed}."),
        Reason::ConnectTimeout => format!("Packets to {upstream} get lost, or it is overloaded (`ip route get`, and a firewall's rules): repair that{listed}."),
        Reason::ConnectionReset => format!("{other} reset the connection: its log says why. A server that refuses this side's certificate under TLS 1.3 looks like this, too."),
        Reason::Exhausted => "This process has no descriptors, ports or memory left: raise `ulimit -n`, or keep connections alive.".to_owned(),
        Reason::OsError => "The record has the operating system's own words.".to_owned(),
        Reason::MalformedRequest
        | Reason::HeadersTooLarge
        | Reason::MalformedPath
        | Reason::NotImplemented => "Correct the client: the rule that its request breaks is named in the record.".to_owned(),
        Reason::UnsupportedVersion => "Speak HTTP/1.1 (`curl --http1.1`), or declare the port as TCP.".to_owned(),
        Reason::RequestTimeout => "The client did not send its request in time: look at the client and the network between.".to_owned(),
        Reason::UpstreamClosed => format!("{upstream} closed without an answer: its log says whether it crashed; if it is idle connections that it closes, set `idleTimeout` below its own."),
        Reason::MalformedResponse => format!("Correct the server at {upstream}: the rule that its response breaks is named in the record."),
        Reason::UpstreamTimeout => format!("Make {upstream} faster, or raise `timeout`{}.", record.origin.as_ref().map_or(String::new(), |origin| format!(" in {origin}"))),
        Reason::DownstreamClosed => "The client left before it had its answer: compare its timeouts with how long the upstream takes.".to_owned(),
        Reason::IdleTimeout => "Nothing moved for as long as the idle timeout: raise `connectionPool.tcp.idleTimeout`, or let the application send keepalives.".to_owned(),
        Reason::ConfigurationChanged => "Connect again: the new configuration holds for new connections.".to_owned(),
        Reason::PeerNoLongerTrusted => "Connect again, with a certificate of a root and a trust domain that are trusted now: `sidering certs` shows them.".to_owned(),
        Reason::DrainTimeout => "Raise `terminationDrainDuration`, or let the connection end sooner.".to_owned(),
    };
    Some(text)
}

fn listed_roots(roots: &[String]) -> String {
    match roots {
        [] => "no root".to_owned(),
        roots => roots.join(" and "),
    }
}
