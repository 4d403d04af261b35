//! Ways to a chain: another way to speak, another mode, another port.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{BROAD, PLAIN, Way, World, any_of, in_a_file, on_the_wire};
use crate::{BindAddress, Chain, ChainMatch, Filter, Listener, Origin, Refusal, Transport};

/// What mutual TLS of a mesh client offers by ALPN, for HTTP and for bytes.
const MESH: [&[&str]; 2] = [&["istio-http/1.1", "istio", "http/1.1"], &["istio"]];
/// What plaintext HTTP is sniffed as.
const SNIFFED: &[&str] = &["http/1.1", "h2c"];

pub(super) fn ways(world: &World, refusal: &Refusal) -> Vec<Way> {
    match refusal {
        Refusal::PlaintextToStrict { origin } => {
            let mutual = "the client uses mutual TLS: give it a sidecar, or ISTIO_MUTUAL in the DestinationRule that its sidecar follows";
            vec![mesh_tls(world, mutual), permissive(world, origin)]
        }
        Refusal::TlsNotAccepted { .. } => {
            let offered = &world.case.facts.application_protocols;
            let mutual = format!(
                "the client's TLS is the mesh's mutual TLS, which offers `istio` by ALPN (it offered {})",
                any_of(offered)
            );
            let plain = "the client sends plaintext instead of TLS";
            vec![mesh_tls(world, &mutual), on_the_wire(PLAIN, plain, speaking_plainly(world))]
        }
        Refusal::NoListener { .. } => no_listener(world),
        Refusal::NoChain { port, origin } => no_chain(world, *port, origin),
        _ => Vec::new(),
    }
}

fn mesh_tls(world: &World, what: &str) -> Way {
    let tokens = MESH[usize::from(world.case.request.is_none())];
    let changed = world.with_case(|case| {
        case.facts.transport = Transport::Tls;
        case.facts.application_protocols = tokens.iter().map(|token| (*token).into()).collect();
        // Who that would be is not known.
        case.client = None;
    });
    on_the_wire(PLAIN, what, changed)
}

/// Where nobody had to look for HTTP it is not among the facts.
fn speaking_plainly(world: &World) -> World {
    world.with_case(|case| {
        let http = case.request.is_some();
        case.facts.transport = Transport::Raw;
        case.facts.application_protocols = http.then(|| SNIFFED[0].into()).into_iter().collect();
        case.client = None;
    })
}

/// What PERMISSIVE makes of the chains: for each that asks for mutual TLS one that takes plaintext.
fn permissive(world: &World, origin: &Origin) -> Way {
    let plain = |chain: &Arc<Chain>| {
        let sniffed = if chain.matches.application_protocols.is_empty() { &[] } else { SNIFFED };
        let matches = ChainMatch {
            transport: Some(Transport::Raw),
            application_protocols: sniffed.iter().map(|token| Arc::from(*token)).collect(),
            ..chain.matches.clone()
        };
        Arc::new(Chain { matches, tls: None, ..Chain::clone(chain) })
    };
    let changed = speaking_plainly(world).with_chains(|chains| {
        let mutual: Vec<_> = chains.iter().filter(|chain| chain.tls.is_some()).map(plain).collect();
        chains.extend(mutual);
    });
    let port = world.case.facts.destination.0.port();
    let what = format!("let port {port} be PERMISSIVE while clients move to mutual TLS");
    in_a_file(BROAD, what, origin, changed)
}

fn no_chain(world: &World, port: u16, origin: &Origin) -> Vec<Way> {
    let Some(listener) = world.listener() else { return Vec::new() };
    let ports: BTreeSet<u16> =
        listener.chains.iter().filter_map(|chain| chain.matches.destination_port).collect();
    let mut near: Vec<u16> = ports.into_iter().filter(|other| *other != port).collect();
    near.sort_by_key(|other| other.abs_diff(port));
    let dialled = near.into_iter().take(2).map(|other| {
        let changed = world.with_case(|case| case.facts.destination.0.set_port(other));
        on_the_wire(PLAIN, format!("the client connects to port {other}, which is configured"), changed)
    });
    let declared = world.with_chains(|chains| {
        chains.push(Arc::new(Chain {
            name: "declared".into(),
            matches: ChainMatch { destination_port: Some(port), ..ChainMatch::default() },
            tls: None,
            filter: Filter::Tcp(Arc::default()),
            authorization: Arc::default(),
            origin: origin.clone(),
        }));
    });
    let what = format!(
        "declare port {port} in a ServiceEntry or Service of this workload, or in the ingress of its Sidecar"
    );
    dialled.chain([on_the_wire(BROAD, what, declared)]).collect()
}

/// Listeners that are there, the nearest port first.
fn no_listener(world: &World) -> Vec<Way> {
    let from = world.case.facts.destination.0.port();
    let mut near: Vec<(u16, SocketAddr, &Arc<Listener>)> = Vec::new();
    for listener in world.snapshot.listeners.iter().filter(|listener| !listener.captures) {
        if let BindAddress::Tcp(bind) = listener.bind {
            near.push((bind.port().abs_diff(from), bind, listener));
        }
    }
    near.sort_by_key(|(distance, bind, _)| (*distance, *bind));
    let to = |(_, bind, listener): (u16, SocketAddr, &Arc<Listener>)| {
        let changed = world.with_case(|case| {
            case.listener = listener.name.clone();
            case.facts.destination.0 = bind;
        });
        on_the_wire(PLAIN, format!("the client connects to {bind}, which {} binds", listener.origin), changed)
    };
    near.into_iter().take(2).map(to).collect()
}
