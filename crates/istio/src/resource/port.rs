//! Ports and their protocols.

use std::fmt;
use std::sync::Arc;

use sidering_policy::Position;

use crate::read::Reader;
use crate::yaml::Node;

/// What a port is declared to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 in clear text.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// A forward proxy's HTTP.
    HttpProxy,
    /// Any bytes.
    Tcp,
    /// TLS that is passed on.
    Tls,
    /// HTTPS that is passed on.
    Https,
    /// MongoDB, as bytes.
    Mongo,
    /// Redis, as bytes.
    Redis,
    /// MySQL, as bytes.
    MySql,
    /// Never proxied.
    Udp,
    /// Undeclared: found out from the first bytes.
    Auto,
}

/// How a port is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProtocolClass {
    Http,
    Tcp,
    Auto,
}

const NAMES: &[(&str, Protocol)] = &[
    ("HTTP", Protocol::Http),
    ("HTTP2", Protocol::Http2),
    ("GRPC", Protocol::Grpc),
    ("GRPC-Web", Protocol::GrpcWeb),
    ("HTTP_PROXY", Protocol::HttpProxy),
    ("TCP", Protocol::Tcp),
    ("TLS", Protocol::Tls),
    ("HTTPS", Protocol::Https),
    ("Mongo", Protocol::Mongo),
    ("Redis", Protocol::Redis),
    ("MySQL", Protocol::MySql),
    ("UDP", Protocol::Udp),
];

impl Protocol {
    fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, protocol)| *protocol)
    }

    /// One of Istio's names, whatever its case.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::named(text).ok_or_else(|| {
            let known = NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            format!("protocol {text:?} is unknown; write one of {known}")
        })
    }

    /// As a Kubernetes Service port tells: appProtocol, else the port name's first word, else well-known ports.
    pub(crate) fn of_service_port(
        transport: &str,
        app_protocol: Option<&str>,
        name: &str,
        port: u16,
    ) -> Self {
        if transport == "UDP" {
            return Self::Udp;
        }
        let word = match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            Some(text) => text,
            None => name,
        };
        let lower = word.to_ascii_lowercase();
        if lower.starts_with("grpc-web") {
            return Self::GrpcWeb;
        }
        Self::named(lower.split('-').next().unwrap_or_default()).unwrap_or(match port {
            25 | 53 | 3306 | 27017 => Self::Tcp,
            _ => Self::Auto,
        })
    }

    pub(crate) fn class(self) -> ProtocolClass {
        match self {
            Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy => ProtocolClass::Http,
            Self::Tcp | Self::Tls | Self::Https | Self::Mongo | Self::Redis | Self::MySql | Self::Udp => {
                ProtocolClass::Tcp
            }
            Self::Auto => ProtocolClass::Auto,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, protocol)| protocol == self).map_or("AUTO", |(name, _)| name))
    }
}

/// A service's or a Sidecar listener's port.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Where endpoints listen, if not on `number`.
    pub(crate) target: Option<u16>,
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) position: Position,
}

/// `{number, name, protocol, targetPort}` of ServiceEntry and Sidecar. `zero`: port 0 is legal (a Unix socket).
pub(crate) fn read_port(node: &Node, zero: bool, r: &mut Reader<'_>) -> Option<Port> {
    let mut f = r.fields(node, "port");
    let number = match f.get("number") {
        Some(n) => r.integer(n, "port number").and_then(|number| match number {
            0 if zero => Some(0),
            number => r.port_of(number, n, "port number"),
        }),
        None if zero => Some(0),
        None => {
            r.error(node, "a port needs a `number`");
            None
        }
    };
    let target = f.get("targetPort").and_then(|n| r.port(n, "targetPort"));
    let name = f.get("name").and_then(|n| r.string(n, "port name")).unwrap_or_default();
    let protocol = f.get("protocol").map(|n| read_protocol(n, r));
    f.done(r);
    Some(Port {
        number: number?,
        target,
        name: name.into(),
        protocol: protocol.unwrap_or(Protocol::Auto),
        position: r.position(node),
    })
}

fn read_protocol(node: &Node, r: &mut Reader<'_>) -> Protocol {
    let Some(text) = r.string(node, "protocol").filter(|text| !text.is_empty()) else {
        return Protocol::Auto;
    };
    Protocol::parse(text).unwrap_or_else(|message| {
        r.error(node, message);
        Protocol::Auto
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_port_tells_its_protocol() {
        for (transport, app, name, port, expected) in [
            ("TCP", None, "http", 80, "HTTP"),
            ("TCP", None, "HTTP-search", 80, "HTTP"),
            ("TCP", None, "https-x", 443, "HTTPS"),
            ("TCP", None, "grpc-web-x", 80, "GRPC-Web"),
            ("TCP", None, "grpc-x", 80, "GRPC"),
            ("TCP", None, "http2-x", 80, "HTTP2"),
            ("TCP", None, "mysql-main", 1, "MySQL"),
            ("TCP", None, "web", 80, "AUTO"),
            ("TCP", None, "web", 3306, "TCP"),
            ("TCP", None, "", 27017, "TCP"),
            ("TCP", None, "http", 3306, "HTTP"),
            ("TCP", Some("https"), "http", 80, "HTTPS"),
            ("TCP", Some("kubernetes.io/h2c"), "tcp", 80, "HTTP2"),
            ("TCP", Some("kubernetes.io/ws"), "tcp", 80, "HTTP"),
            ("TCP", Some("kubernetes.io/wss"), "tcp", 80, "HTTPS"),
            ("UDP", None, "http", 80, "UDP"),
        ] {
            assert_eq!(
                Protocol::of_service_port(transport, app, name, port).to_string(),
                expected,
                "{name} {app:?}"
            );
        }
    }
}
