//! Questions about what arrives: `mtls`, `accept`, `authorize`.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sidering_identity::{PeerIdentity, SpiffeId};
use sidering_istio::{Action, Effective, Workload};
use sidering_policy::{
    Authorization, Chain, Claim, Claims, Destination, Facts, Filter, Origin, Peer, Permit, Refusal,
    RequestFacts, Snapshot, Token, Transport, authorize as ask, authorize_tcp, dry_run, dry_run_tcp, needs,
    normalize_path, path_of,
};
use sidering_proxy::Reason;

use super::Answer;
use super::question::{Accept, Authorize, SELF, Speaks};
use crate::world::{CAPTURED_INBOUND as LISTENER, World, certificate, snapshot};

pub(super) fn mtls(world: &World, workload: &Workload) -> Answer {
    let effective = world.effective(workload);
    let authentication = effective.authentication();
    let by = &authentication.mode.by;
    let ports: Map<String, Value> = authentication
        .ports
        .iter()
        .map(|(port, decided)| (port.to_string(), json!(decided.mode.to_string())))
        .collect();
    let domains: Vec<String> = effective.trust_domains().iter().map(ToString::to_string).collect();
    let actual = Map::from_iter([
        ("mode".to_owned(), json!(authentication.mode.mode.to_string())),
        ("ports".to_owned(), Value::Object(ports)),
        ("by".to_owned(), json!(written(by).map(Origin::label))),
        ("trustDomains".to_owned(), json!(domains)),
    ]);
    Answer { actual, origin: Some(by.to_string()) }
}

/// A resource, and not Istio's default.
fn written(by: &Origin) -> Option<&Origin> {
    (&*by.kind != "default").then_some(by)
}

pub(super) fn accept(world: &World, asked: &Accept) -> Result<Answer, String> {
    let mut effective = world.effective(&asked.workload);
    if let Some(protocol) = &asked.protocol {
        effective.declare(asked.port, protocol)?;
    }
    let snapshot = snapshot(&effective)?;
    let listener = snapshot.listener(LISTENER).ok_or("there is no inbound listener")?;
    let destination = Destination(SocketAddr::new(SELF, asked.port));
    let needs = needs(listener, destination);
    let looked_at = needs.tls || needs.http;
    if !asked.tls && asked.speaks == Speaks::Nothing && looked_at && listener.detection_timeout.is_none() {
        return Ok(handling("wait", None, None, None));
    }
    let is_tls = asked.tls && needs.tls;
    let sniffed = match asked.speaks {
        _ if asked.tls || !needs.http => None,
        Speaks::Http10 => Some("http/1.0"),
        Speaks::Http11 => Some("http/1.1"),
        Speaks::H2 => Some("h2c"),
        Speaks::Other | Speaks::Nothing => None,
    };
    let protocols: Vec<Box<str>> = match is_tls {
        true => asked.alpn.iter().map(|token| token.as_str().into()).collect(),
        false => sniffed.map(Box::from).into_iter().collect(),
    };
    let facts = Facts {
        peer: Peer(SocketAddr::new(SELF, 40000)),
        destination,
        transport: if is_tls { Transport::Tls } else { Transport::Raw },
        server_name: None,
        application_protocols: protocols,
    };
    Ok(match sidering_policy::accept(&snapshot, LISTENER, &facts) {
        Ok(chain) => accepted(chain, asked),
        Err(refusal) => refused(&refusal),
    })
}

/// What a chain makes of such a client.
fn accepted(chain: &Chain, asked: &Accept) -> Answer {
    let http = matches!(chain.filter, Filter::Http(_));
    let protocol = Some(if http { "HTTP" } else { "TCP" });
    let by = Some(&chain.origin);
    match (&chain.tls, asked.tls) {
        (Some(_), _) if !asked.certificate => handling("refuse", None, Some(Reason::NoClientCertificate), by),
        (Some(_), _) => handling("mtls", protocol, None, by),
        // A ClientHello is no request.
        (None, true) if http => handling("refuse", None, Some(Reason::MalformedRequest), by),
        (None, true) => handling("opaque", protocol, None, by),
        (None, false) => handling("plaintext", protocol, None, by),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let by = match refusal {
        Refusal::PlaintextToStrict { origin }
        | Refusal::TlsNotAccepted { origin, .. }
        | Refusal::NoChain { origin, .. } => Some(origin),
        _ => None,
    };
    handling("refuse", None, Some(Reason::from(refusal)), by)
}

fn handling(what: &str, protocol: Option<&str>, reason: Option<Reason>, by: Option<&Origin>) -> Answer {
    let actual = Map::from_iter([
        ("handling".to_owned(), json!(what)),
        ("protocol".to_owned(), json!(protocol)),
        ("reason".to_owned(), json!(reason.map(Reason::name))),
    ]);
    Answer { actual, origin: by.map(ToString::to_string) }
}

pub(super) fn authorize(world: &World, asked: &Authorize) -> Result<Answer, String> {
    let mut effective = world.effective(&asked.workload);
    effective.declare(asked.port, if asked.http { "HTTP" } else { "TCP" })?;
    let snapshot = snapshot(&effective)?;
    let rules = rules(&snapshot, asked).ok_or("no chain takes such a connection")?;
    let peer = asked.from.as_deref().map(peer).transpose()?;
    let facts = Facts {
        peer: Peer(SocketAddr::new(asked.source_ip, 40000)),
        destination: Destination(SocketAddr::new(asked.destination_ip, asked.port)),
        transport: if peer.is_some() { Transport::Tls } else { Transport::Raw },
        server_name: asked.sni.as_deref().map(Box::from),
        application_protocols: Vec::new(),
    };
    let (verdict, would_deny) = if asked.http {
        let Some(target) = normalize_path(snapshot.path_normalization, &asked.path) else {
            return Ok(verdict(
                &effective,
                Verdict { reason: Some(Reason::MalformedPath), ..Verdict::default() },
            ));
        };
        let host = || world.resources.service_of(&asked.workload.namespace, &asked.workload.labels);
        let authority = asked.host.clone().or_else(host).unwrap_or_default();
        let claims = asked.claims.as_ref().map(|claims| split(claims, &effective));
        let request = RequestFacts {
            method: &asked.method,
            authority: &authority,
            path: path_of(&target),
            remote_ip: asked.remote_ip.unwrap_or(asked.source_ip),
            token: claims.as_ref().map_or(Token::Absent, Token::Verified),
            header: &|name, found| {
                asked
                    .headers
                    .iter()
                    .filter(|(own, _)| own == name)
                    .for_each(|(_, value)| found(value.as_bytes()));
            },
        };
        (ask(rules, &facts, peer.as_ref(), &request), dry_run(rules, &facts, peer.as_ref(), &request))
    } else {
        (authorize_tcp(rules, &facts, peer.as_ref()), dry_run_tcp(rules, &facts, peer.as_ref()))
    };
    Ok(self::verdict(&effective, Verdict { would_deny, ..Verdict::of(&verdict) }))
}

/// A token's claims as rules see them: strings of words in parts.
fn split(claims: &Claims, effective: &Effective) -> Claims {
    let issuer = match claims.get("iss") {
        Some(Claim::Text(issuer)) => issuer,
        _ => "",
    };
    let mut claims = claims.clone();
    for name in effective.space_delimited_claims(issuer) {
        if let Some(claim) = claims.get_mut(&*name)
            && let Claim::Text(words) = claim
        {
            // As Envoy: other white space belongs to a word.
            let words = words.split(' ').filter(|word| !word.is_empty());
            *claim = Claim::List(words.map(str::to_owned).collect());
        }
    }
    claims
}

/// The rules of that port's chains, else of the chains for every port.
fn rules<'s>(snapshot: &'s Snapshot, asked: &Authorize) -> Option<&'s Arc<Authorization>> {
    let fits = |chain: &&Arc<Chain>| matches!(chain.filter, Filter::Http(_)) == asked.http;
    let chains =
        || snapshot.listener(LISTENER).into_iter().flat_map(|listener| &listener.chains).filter(fits);
    let of_port = chains().find(|chain| chain.matches.destination_port == Some(asked.port));
    of_port.or_else(|| chains().next()).map(|chain| &chain.authorization)
}

fn peer(principal: &str) -> Result<PeerIdentity, String> {
    let uri = format!("spiffe://{principal}");
    let id = SpiffeId::parse(&uri).map_err(|error| format!("from {principal:?} is no identity: {error}"))?;
    Ok(PeerIdentity { id, leaf: certificate(uri) })
}

#[derive(Default)]
struct Verdict<'v> {
    allowed: bool,
    by: Option<&'v Origin>,
    action: Option<&'static str>,
    reason: Option<Reason>,
    would_deny: Option<Origin>,
}

impl<'v> Verdict<'v> {
    fn of(verdict: &'v Result<Permit, Refusal>) -> Self {
        match verdict {
            Ok(permit) => {
                let by = permit.by();
                Self { allowed: true, by, action: by.map(|_| "ALLOW"), ..Self::default() }
            }
            Err(refusal) => {
                let (by, action) = match refusal {
                    Refusal::Denied { origin } => (Some(origin), Some("DENY")),
                    Refusal::CustomUnsupported { origin } => (Some(origin), Some("CUSTOM")),
                    _ => (None, None),
                };
                Self { by, action, reason: Some(Reason::from(refusal)), ..Self::default() }
            }
        }
    }
}

fn verdict(effective: &Effective, verdict: Verdict<'_>) -> Answer {
    let labels = |action| effective.in_force(action).iter().map(Origin::label).collect::<Vec<String>>();
    let in_force = json!({
        "custom": labels(Action::Custom),
        "audit": labels(Action::Audit),
        "deny": labels(Action::Deny),
        "allow": labels(Action::Allow),
    });
    let actual = Map::from_iter([
        ("allowed".to_owned(), json!(verdict.allowed)),
        ("by".to_owned(), json!(verdict.by.map(Origin::label))),
        ("action".to_owned(), json!(verdict.action)),
        ("inForce".to_owned(), in_force),
        ("wouldDeny".to_owned(), json!(verdict.would_deny.is_some())),
    ]);
    let origin = verdict.by.map(ToString::to_string);
    Answer { actual, origin: origin.or_else(|| verdict.reason.map(|reason| reason.name().to_owned())) }
}
