//! Istio's standard metrics. One end is this workload, which is known whole; of the other there is what its
//! certificate and the configuration say. What is not known is `unknown`, as in Istio.

use sidering_identity::SpiffeId;
use sidering_istio::{Effective, Named};
use sidering_policy::Direction;
use sidering_proxy::{Metrics, RequestProtocol, Traffic};

use super::{Labels, Page, all};
use crate::state::State;

const UNKNOWN: &str = "unknown";

pub(super) fn traffic(page: &mut Page, metrics: &Metrics, state: &State) {
    let effective = state.resources().effective;
    let labelled = |it: &Traffic| labels(it, state, &effective);
    let http = || metrics.traffic.iter().filter(|it| it.labels.protocol != RequestProtocol::Tcp);
    page.counters(&all::REQUESTS, http().map(|it| (labelled(it), it.requests)));
    page.histograms(&all::DURATION, http().map(|it| (labelled(it), it.duration.clone())));
    page.histograms(&all::REQUEST_BYTES, http().map(|it| (labelled(it), it.request_bytes.clone())));
    page.histograms(&all::RESPONSE_BYTES, http().map(|it| (labelled(it), it.response_bytes.clone())));
    let tcp = || metrics.traffic.iter().filter(|it| it.labels.protocol == RequestProtocol::Tcp);
    page.counters(&all::TCP_OPENED, tcp().map(|it| (labelled(it), it.opened)));
    page.counters(&all::TCP_CLOSED, tcp().map(|it| (labelled(it), it.closed)));
    page.counters(&all::TCP_RECEIVED, tcp().map(|it| (labelled(it), it.received_bytes)));
    page.counters(&all::TCP_SENT, tcp().map(|it| (labelled(it), it.sent_bytes)));
}

/// One end of a connection.
struct End {
    workload: String,
    namespace: String,
    principal: String,
    app: String,
    version: String,
    canonical_service: String,
    canonical_revision: String,
}

impl End {
    fn own(state: &State) -> Self {
        let workload = &state.setup.workload;
        let label = |names: &[&str]| names.iter().find_map(|name| workload.labels.get(*name)).cloned();
        let canonical = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
        let revision =
            label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
        Self {
            workload: workload.name.to_string(),
            namespace: workload.namespace.to_string(),
            principal: state.setup.id.to_string(),
            app: or_unknown(label(&["app"])),
            version: or_unknown(label(&["version"])),
            canonical_service: canonical.unwrap_or_else(|| workload.name.to_string()),
            canonical_revision: revision.unwrap_or_else(|| "latest".to_owned()),
        }
    }

    fn peer(id: Option<&SpiffeId>) -> Self {
        let unknown = || UNKNOWN.to_owned();
        Self {
            workload: unknown(),
            namespace: or_unknown(id.and_then(namespace_of).map(str::to_owned)),
            principal: or_unknown(id.map(ToString::to_string)),
            app: unknown(),
            version: unknown(),
            canonical_service: unknown(),
            canonical_revision: unknown(),
        }
    }
}

/// Of `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
fn namespace_of(id: &SpiffeId) -> Option<&str> {
    id.as_str().splitn(4, '/').nth(3)?.strip_prefix("ns/")?.split('/').next()
}

fn or_unknown(value: Option<String>) -> String {
    value.filter(|value| !value.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned())
}

fn labels(traffic: &Traffic, state: &State, effective: &Effective) -> Labels {
    let it = &traffic.labels;
    let (own, peer) = (End::own(state), End::peer(it.peer.as_ref()));
    let (reporter, source, destination) = match it.direction {
        Direction::Inbound => ("destination", peer, own),
        Direction::Outbound => ("source", own, peer),
    };
    let service = Service::of(it.cluster.as_deref(), effective);
    let unknown = || UNKNOWN.to_owned();
    let mut labels = vec![
        ("reporter", reporter.to_owned()),
        ("source_workload", source.workload),
        ("source_canonical_service", source.canonical_service),
        ("source_canonical_revision", source.canonical_revision),
        ("source_workload_namespace", source.namespace),
        ("source_principal", source.principal),
        ("source_app", source.app),
        ("source_version", source.version),
        ("source_cluster", unknown()),
        ("destination_workload", destination.workload),
        ("destination_workload_namespace", destination.namespace),
        ("destination_principal", destination.principal),
        ("destination_app", destination.app),
        ("destination_version", destination.version),
        ("destination_service", service.host),
        ("destination_canonical_service", destination.canonical_service),
        ("destination_canonical_revision", destination.canonical_revision),
        ("destination_service_name", service.name),
        ("destination_service_namespace", service.namespace),
        ("destination_cluster", unknown()),
        ("request_protocol", it.protocol.name().to_owned()),
    ];
    if it.protocol != RequestProtocol::Tcp {
        labels.push(("response_code", it.code.to_string()));
        labels
            .push(("grpc_response_status", it.grpc_status.map(|code| code.to_string()).unwrap_or_default()));
    }
    labels.push(("response_flags", it.flag.to_owned()));
    labels.push(("connection_security_policy", it.security.name().to_owned()));
    labels
}

/// The service that was called.
#[derive(Debug, PartialEq)]
struct Service {
    host: String,
    name: String,
    namespace: String,
}

impl Service {
    /// By the name of the cluster: `outbound|PORT|SUBSET|HOST`, `inbound|PORT||`, or that of one that is no service.
    fn of(cluster: Option<&str>, effective: &Effective) -> Self {
        let unknown = || UNKNOWN.to_owned();
        let Some(cluster) = cluster else {
            return Self { host: unknown(), name: unknown(), namespace: unknown() };
        };
        let mut parts = cluster.splitn(4, '|');
        let (kind, port, host) = (parts.next(), parts.next(), parts.nth(1));
        let service = match (kind, port, host) {
            (Some("inbound"), Some(port), _) => {
                port.parse().ok().and_then(|port| effective.own_service(port)).cloned()
            }
            (Some("outbound"), _, Some(host)) => Some(
                effective
                    .service_named(host)
                    .unwrap_or_else(|| Named { host: host.into(), namespace: UNKNOWN.into() }),
            ),
            _ => None,
        };
        match service {
            Some(Named { host, namespace }) => {
                let name = short(&host, &namespace).to_owned();
                Self { host: host.to_string(), name, namespace: namespace.to_string() }
            }
            None => Self { host: unknown(), name: cluster.to_owned(), namespace: unknown() },
        }
    }
}

/// The name of a Kubernetes service; other hosts are their own.
fn short<'a>(host: &'a str, namespace: &str) -> &'a str {
    match host.split_once('.') {
        Some((name, rest)) if rest.strip_prefix(namespace).is_some_and(|rest| rest.starts_with(".svc.")) => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_cluster() {
        let effective = Effective::of(&Default::default(), &Default::default(), &Default::default());
        let service = |cluster| {
            let Service { host, name, namespace } = Service::of(cluster, &effective);
            (host, name, namespace)
        };
        let is = |host: &str, name: &str, namespace: &str| {
            (host.to_owned(), name.to_owned(), namespace.to_owned())
        };
        assert_eq!(service(None), is(UNKNOWN, UNKNOWN, UNKNOWN));
        assert_eq!(service(Some("outbound|80|v1|a.example")), is("a.example", "a.example", UNKNOWN));
        assert_eq!(service(Some("PassthroughCluster")), is(UNKNOWN, "PassthroughCluster", UNKNOWN));
        assert_eq!(service(Some("inbound|80||")), is(UNKNOWN, "inbound|80||", UNKNOWN));
    }

    #[test]
    fn only_names_of_kubernetes_are_short() {
        assert_eq!(short("orders.shop.svc.cluster.local", "shop"), "orders");
        assert_eq!(short("orders.shop.svc.cluster.local", "other"), "orders.shop.svc.cluster.local");
        assert_eq!(short("api.example.com", "shop"), "api.example.com");
    }

    #[test]
    fn a_peer_tells_its_namespace() {
        let id = |text: &str| SpiffeId::parse(text).unwrap();
        assert_eq!(namespace_of(&id("spiffe://a/ns/shop/sa/b")), Some("shop"));
        assert_eq!(namespace_of(&id("spiffe://a/else")), None);
    }
}
