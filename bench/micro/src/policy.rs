//! The decisions, on a mesh of fifty services: which chain, may this request pass, where does it go.

use std::fmt::Write as _;
use std::hint::black_box;

use sidering_identity::{Leaf, PeerIdentity, SpiffeId};
use sidering_istio::{CaptureListeners, Effective, MeshConfig, Source, Workload};
use sidering_policy::{
    Destination, Direction, Facts, Filter, Peer, RequestFacts, RouteRequest, Snapshot, Token, Transport,
};

use crate::Result;

const SERVICES: usize = 50;
const POLICIES: usize = 20;
/// What a request has of headers that anybody asks for.
const TENANT: &[u8] = b"blue";

/// A mutual TLS connection from a sidecar to our port.
pub fn accept() -> Result<impl FnMut()> {
    let (snapshot, facts) = (snapshot()?, inbound_facts());
    let listener = listener(&snapshot, Direction::Inbound)?.to_owned();
    Ok(move || {
        let chain = sidering_policy::accept(black_box(&snapshot), black_box(&listener), black_box(&facts));
        black_box(chain.is_ok());
    })
}

/// A request that the last of the policies allows.
pub fn authorize(count: usize) -> Result {
    let (snapshot, facts) = (snapshot()?, inbound_facts());
    let chain = sidering_policy::accept(&snapshot, listener(&snapshot, Direction::Inbound)?, &facts)?;
    let peer = peer("spiffe://cluster.local/ns/shop/sa/client")?;
    let path = format!("/service-{}/items/7", POLICIES - 1);
    let request = RequestFacts {
        method: "GET",
        authority: "orders.shop.svc.cluster.local:8080",
        path: &path,
        remote_ip: [127, 0, 0, 1].into(),
        token: Token::Unverified,
        header: &header,
    };
    for _ in 0..count {
        let permit = sidering_policy::authorize(
            black_box(&chain.authorization),
            black_box(&facts),
            Some(&peer),
            black_box(&request),
        );
        black_box(permit)?;
    }
    Ok(())
}

/// A request to one of the services, by a header.
pub fn route(count: usize) -> Result {
    let snapshot = snapshot()?;
    let facts = Facts {
        destination: Destination(([127, 0, 0, 1], 9000).into()),
        transport: Transport::Raw,
        application_protocols: vec!["http/1.1".into()],
        ..inbound_facts()
    };
    let chain = sidering_policy::accept(&snapshot, listener(&snapshot, Direction::Outbound)?, &facts)?;
    let Filter::Http(table) = &chain.filter else { return Err("the outbound chain is HTTP".into()) };
    let request = RouteRequest {
        method: "GET",
        authority: "service-31.shop.svc.cluster.local:9000",
        scheme: "http",
        path: "/items/7",
        header: &header,
    };
    for entropy in 0..count {
        let routed = sidering_policy::route(&snapshot, table, black_box(&request), black_box(entropy as u64));
        black_box(routed)?;
    }
    Ok(())
}

pub fn peer(id: &str) -> Result<PeerIdentity> {
    let leaf = Leaf {
        uris: vec![id.into()],
        dns: Vec::new(),
        serial: "01".into(),
        subject: String::new(),
        not_before: 0,
        not_after: i64::MAX,
    };
    Ok(PeerIdentity { id: SpiffeId::parse(id)?, leaf })
}

pub fn header(name: &str, each: &mut dyn FnMut(&[u8])) {
    if name == "x-tenant" {
        each(TENANT);
    }
}

pub fn inbound_facts() -> Facts {
    Facts {
        peer: Peer(([127, 0, 0, 9], 40000).into()),
        destination: Destination(([127, 0, 0, 2], 8080).into()),
        transport: Transport::Tls,
        server_name: Some("outbound_.8080_._.orders.shop.svc.cluster.local".into()),
        application_protocols: vec!["istio-http/1.1".into(), "istio".into(), "http/1.1".into()],
    }
}

pub fn listener(snapshot: &Snapshot, direction: Direction) -> Result<&str> {
    let found = snapshot.listeners.iter().find(|listener| listener.direction == direction);
    Ok(&found.ok_or("both listeners are in the resources")?.name)
}

fn snapshot() -> Result<Snapshot> {
    compiled(&resources()?)
}

/// The snapshot of the workload `orders`.
pub fn compiled(text: &str) -> Result<Snapshot> {
    let (resources, mut problems) = sidering_istio::parse(&[Source { file: "mesh.yaml".into(), text }]);
    let workload = Workload {
        name: "orders-1".into(),
        namespace: "shop".into(),
        service_account: "orders".into(),
        labels: [("app".to_owned(), "orders".to_owned())].into(),
        addresses: vec![[127, 0, 0, 2].into()],
    };
    let effective = Effective::of(&resources, &MeshConfig::default(), &workload);
    match sidering_istio::compile(&effective, &CaptureListeners::default(), &|_| Err("no files".into())) {
        Ok(snapshot) if problems.is_empty() => Ok(snapshot),
        Ok(_) => Err(format!("{problems:?}").into()),
        Err(more) => {
            problems.extend(more);
            Err(format!("{problems:?}").into())
        }
    }
}

fn resources() -> Result<String> {
    let mut text = String::from(
        "apiVersion: security.istio.io/v1\n\
         kind: PeerAuthentication\n\
         metadata: {name: default, namespace: shop}\n\
         spec: {mtls: {mode: STRICT}}\n\
         ---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: Sidecar\n\
         metadata: {name: default, namespace: shop}\n\
         spec:\n\
         \x20 ingress:\n\
         \x20 - {bind: 127.0.0.2, captureMode: NONE, defaultEndpoint: '127.0.0.1:8081', port: {number: 8080, protocol: HTTP, name: http}}\n\
         \x20 egress:\n\
         \x20 - {bind: 127.0.0.1, captureMode: NONE, hosts: ['shop/*'], port: {number: 9000, protocol: HTTP, name: http}}\n",
    );
    for service in 0..SERVICES {
        write!(
            text,
            "---\n\
             apiVersion: networking.istio.io/v1\n\
             kind: ServiceEntry\n\
             metadata: {{name: service-{service}, namespace: shop}}\n\
             spec:\n\
             \x20 hosts: [service-{service}.shop.svc.cluster.local]\n\
             \x20 location: MESH_INTERNAL\n\
             \x20 resolution: STATIC\n\
             \x20 ports: [{{number: 9000, protocol: HTTP, name: http}}]\n\
             \x20 endpoints: [{{address: 127.0.1.{service}, serviceAccount: service-{service}, labels: {{version: v1}}}}]\n\
             ---\n\
             apiVersion: networking.istio.io/v1\n\
             kind: VirtualService\n\
             metadata: {{name: service-{service}, namespace: shop}}\n\
             spec:\n\
             \x20 hosts: [service-{service}.shop.svc.cluster.local]\n\
             \x20 http:\n\
             \x20 - match: [{{headers: {{x-tenant: {{exact: red}}}}}}, {{uri: {{prefix: /admin}}}}]\n\
             \x20   directResponse: {{status: 403}}\n\
             \x20 - match: [{{headers: {{x-tenant: {{exact: blue}}}}}}]\n\
             \x20   route: [{{destination: {{host: service-{service}.shop.svc.cluster.local}}}}]\n"
        )?;
    }
    for policy in 0..POLICIES {
        write!(
            text,
            "---\n\
             apiVersion: security.istio.io/v1\n\
             kind: AuthorizationPolicy\n\
             metadata: {{name: policy-{policy}, namespace: shop}}\n\
             spec:\n\
             \x20 selector: {{matchLabels: {{app: orders}}}}\n\
             \x20 rules:\n\
             \x20 - from: [{{source: {{principals: [cluster.local/ns/shop/sa/client]}}}}]\n\
             \x20   to: [{{operation: {{methods: [GET], paths: ['/service-{policy}/*']}}}}]\n\
             \x20   when: [{{key: 'request.headers[x-tenant]', values: [blue]}}]\n"
        )?;
    }
    Ok(text)
}
