//! Ways to be believed: another trust domain, another name where the expected ones are written.

use std::sync::Arc;

use sidering_identity::{ExpectedSan, ExpectedSans, IdentityError, Leaf, SpiffeId, TrustDomain};

use super::{BROAD, PLAIN, SLIP, Way, World, any_of, in_a_file, near, on_the_wire};
use crate::{Discovery, Endpoint, Origin, UpstreamTls};

/// The client's certificate.
pub(super) fn of_client(world: &World, error: &IdentityError) -> Vec<Way> {
    let with = |uri: String| world.with_case(|case| case.client = case.client.take().map(|l| named(l, uri)));
    of_either(world, error, "client", with)
}

/// The server's certificate.
pub(super) fn of_server(world: &World, error: &IdentityError, endpoint: &Endpoint) -> Vec<Way> {
    let with = |uri: String| {
        world.with_case(|case| {
            if let Some(server) = &mut case.server {
                server.leaf = named(server.leaf.clone(), uri);
            }
        })
    };
    match error {
        IdentityError::Naming { .. } => naming(world, endpoint, with),
        error => of_either(world, error, "server", with),
    }
}

/// With that URI name alone.
fn named(leaf: Leaf, uri: String) -> Leaf {
    Leaf { uris: vec![uri], ..leaf }
}

fn of_either(world: &World, error: &IdentityError, who: &str, with: impl Fn(String) -> World) -> Vec<Way> {
    let Some(own) = world.snapshot.trust_domains.first().map(TrustDomain::as_str) else { return Vec::new() };
    match error {
        IdentityError::TrustDomain { id, .. } => {
            let path = id.principal().strip_prefix(id.trust_domain()).unwrap_or_default();
            let issued = format!("spiffe://{own}{path}");
            let what =
                format!("the {who}'s certificate is issued as `{issued}`, in the trust domain of this mesh");
            let mut ways = vec![on_the_wire(PLAIN, what, with(issued))];
            if let Ok(domain) = TrustDomain::parse(id.trust_domain()) {
                let what = format!("list `{domain}`");
                let at = Origin {
                    kind: "MeshConfig".into(),
                    name: "trustDomainAliases".into(),
                    rule: None,
                    position: None,
                };
                let alias = |domain: TrustDomain| {
                    world.with_snapshot(|snapshot| {
                        snapshot.trust_domains =
                            snapshot.trust_domains.iter().cloned().chain([domain]).collect();
                    })
                };
                ways.push(in_a_file(PLAIN, what, &at, alias(domain)));
            }
            ways
        }
        IdentityError::NoSpiffeId | IdentityError::ManyUris(_) => {
            let what = format!(
                "the {who}'s certificate has one URI name, such as `spiffe://{own}/ns/NAMESPACE/sa/ACCOUNT`"
            );
            vec![on_the_wire(PLAIN, what, with(format!("spiffe://{own}/ns/namespace/sa/account")))]
        }
        IdentityError::San(_) | IdentityError::Naming { .. } => Vec::new(),
    }
}

fn naming(world: &World, endpoint: &Endpoint, with: impl Fn(String) -> World) -> Vec<Way> {
    let (Some(server), Some(tls)) = (&world.case.server, &endpoint.tls) else { return Vec::new() };
    let mut ways = Vec::new();
    if let Some(presented) = server.leaf.uris.first().or(server.leaf.dns.first()) {
        let slip = tls.sans.0.iter().find(|san| near::is_slip(&san.name, presented));
        let changed = expecting(world, presented);
        let cost = if slip.is_some() { SLIP } else { BROAD };
        let what = expect(presented, tls, slip);
        // Names that a rule lists are its own; else they come from the endpoint.
        let at = if is_of_rule(tls) { &tls.origin } else { &endpoint.origin };
        ways.push(in_a_file(cost, what, at, changed));
    }
    let uris: Vec<&ExpectedSan> =
        tls.sans.0.iter().filter(|san| SpiffeId::parse(&san.name).is_ok()).collect();
    if let Some(first) = uris.first() {
        let names = any_of(uris.iter().map(|san| &san.name));
        let what = format!("the server presents a certificate for {names}");
        ways.push(on_the_wire(PLAIN, what, with(first.name.to_string())));
    }
    ways
}

/// What to write so that the server's name is among the expected.
fn expect(presented: &str, tls: &UpstreamTls, slip: Option<&ExpectedSan>) -> String {
    let slip = match slip {
        Some(san) => format!(" (it expects `{}`, which is almost the same: a slip?)", san.name),
        None => String::new(),
    };
    let id = SpiffeId::parse(presented).ok();
    match id.as_ref().and_then(SpiffeId::account) {
        Some((namespace, account)) if !is_of_rule(tls) => format!(
            "if the server is the right one, set `serviceAccount: {account}` (in namespace {namespace}) or list `{presented}` in `subjectAltNames`{slip}"
        ),
        _ => format!("if the server is the right one, list `{presented}` in `subjectAltNames`{slip}"),
    }
}

fn is_of_rule(tls: &UpstreamTls) -> bool {
    tls.sans.0.iter().any(|san| san.from.contains("of the DestinationRule"))
}

/// One more name at every endpoint of the cluster.
fn expecting(world: &World, name: &str) -> World {
    let more = |tls: &Arc<UpstreamTls>| {
        let mut sans = ExpectedSans::clone(&tls.sans);
        sans.0.push(ExpectedSan { name: name.into(), from: "remedy".into() });
        Arc::new(UpstreamTls { sans: Arc::new(sans), ..UpstreamTls::clone(tls) })
    };
    world.with_snapshot(|snapshot| {
        let server = world.case.server.as_ref();
        let cluster = server.and_then(|server| snapshot.clusters.get_mut(&server.cluster));
        if let Some(Discovery::Static(endpoints)) = cluster.map(|it| &mut Arc::make_mut(it).discovery) {
            for endpoint in endpoints {
                let tls = endpoint.tls.as_ref().map(more);
                *endpoint = Arc::new(Endpoint { tls, ..Endpoint::clone(endpoint) });
            }
        }
    })
}
