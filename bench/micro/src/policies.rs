//! `authorize` in a mesh with many policies: 200 principals and 200 path patterns, each in several policies; nine of
//! ten allow. Half of the requests are allowed.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use sidering_identity::PeerIdentity;
use sidering_policy::{Chain, Direction, Facts, RequestFacts, Token};

use crate::Result;
use crate::policy::{compiled, header, inbound_facts, listener, peer};

const PRINCIPALS: usize = 200;
const PATTERNS: usize = 200;
const REQUESTS: usize = 1000;

/// Authorizes one of the requests with each call, in turn.
pub fn authorize(policies: usize) -> Result<impl FnMut()> {
    let snapshot = compiled(&resources(policies)?)?;
    let facts = inbound_facts();
    let chain = sidering_policy::accept(&snapshot, listener(&snapshot, Direction::Inbound)?, &facts)?.clone();
    let requests = (0..REQUESTS).map(|number| request(number, policies)).collect::<Result<Vec<_>>>()?;
    let allowed = requests.iter().filter(|(peer, path)| ask(&chain, &facts, peer, path)).count();
    if !(REQUESTS / 4..=REQUESTS * 3 / 4).contains(&allowed) {
        return Err(format!("{allowed} of {REQUESTS} requests are allowed").into());
    }
    let mut turns = (0..REQUESTS).cycle();
    Ok(move || {
        let (peer, path) = &requests[turns.next().unwrap_or_default()];
        black_box(ask(&chain, &facts, peer, path));
    })
}

fn ask(chain: &Arc<Chain>, facts: &Facts, peer: &PeerIdentity, path: &str) -> bool {
    let request = RequestFacts {
        method: "GET",
        authority: "orders.shop.svc.cluster.local:8080",
        path,
        remote_ip: [127, 0, 0, 1].into(),
        token: Token::Unverified,
        header: &header,
    };
    let rules = black_box(&chain.authorization);
    sidering_policy::authorize(rules, black_box(facts), Some(peer), black_box(&request)).is_ok()
}

/// What one of the policies is about, by its first principal or by somebody else.
fn request(number: usize, policies: usize) -> Result<(PeerIdentity, String)> {
    let policy = number * 37 % policies;
    let stranger = number % 2 * 101;
    let pattern = pattern(policy);
    let path = match pattern.strip_suffix('*') {
        Some(prefix) => format!("{prefix}items/{number}"),
        None => pattern.replace('*', "/archive/2026"),
    };
    Ok((peer(&format!("spiffe://{}", principal(policy + stranger)))?, path))
}

fn resources(count: usize) -> Result<String> {
    let listener = "apiVersion: networking.istio.io/v1\n\
         kind: Sidecar\n\
         metadata: {name: default, namespace: shop}\n\
         spec:\n\
         \x20 ingress: [{bind: 127.0.0.2, captureMode: NONE, defaultEndpoint: '127.0.0.1:8081', port: {number: 8080, protocol: HTTP, name: http}}]\n";
    Ok(listener.to_owned() + &policies(count)?)
}

/// That many AuthorizationPolicies.
pub fn policies(count: usize) -> Result<String> {
    let mut text = String::new();
    for policy in 0..count {
        let (action, from) = match policy % 10 {
            9 => ("DENY", format!("notPrincipals: [{}]", principal(policy))),
            _ => ("ALLOW", format!("principals: [{}, {}]", principal(policy), principal(policy * 7 + 3))),
        };
        let to = format!("methods: [GET, POST], paths: ['{}']", pattern(policy));
        write!(
            text,
            "---\n\
             apiVersion: security.istio.io/v1\n\
             kind: AuthorizationPolicy\n\
             metadata: {{name: policy-{policy:04}, namespace: shop}}\n\
             spec:\n\
             \x20 action: {action}\n\
             \x20 rules: [{{from: [{{source: {{{from}}}}}], to: [{{operation: {{{to}}}}}]}}]\n"
        )?;
    }
    Ok(text)
}

fn principal(number: usize) -> String {
    let number = number % PRINCIPALS;
    format!("cluster.local/ns/team-{}/sa/client-{number}", number % 20)
}

/// Half of them prefixes, the others whole paths and suffixes.
fn pattern(policy: usize) -> String {
    let number = policy * 3 % PATTERNS;
    match number % 4 {
        0 => format!("/service-{number}/health"),
        1 => format!("*/report-{number}.json"),
        _ => format!("/service-{number}/*"),
    }
}
