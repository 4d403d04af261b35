//! Which chain takes a connection. Asked when it arrives, and again on each publish. The order is Envoy's: at each
//! step only the chains that are most specific go on, and there is no way back to the others. That is what keeps a
//! port with its own, stricter chains from being reached through a general one.

use std::sync::Arc;

use crate::{BindAddress, Chain, Destination, Facts, Listener, Refusal, Snapshot, Transport};

/// What must be known of the first bytes before `accept` can answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Is it TLS, with which SNI and ALPN?
    pub tls: bool,
    /// Is it HTTP, if it is not TLS?
    pub http: bool,
}

/// What `listener` needs to see of a connection to `destination`. Where no chain for it asks for TLS nobody looks: a
/// ClientHello is then [`Transport::Raw`], like anything else.
pub fn needs(listener: &Listener, destination: Destination) -> Needs {
    let mut needs = Needs::default();
    for chain in listener.chains.towards(destination) {
        let matches = &chain.matches;
        needs.tls |= matches.transport == Some(Transport::Tls) || !matches.server_names.is_empty();
        needs.http |= matches.transport != Some(Transport::Tls) && !matches.application_protocols.is_empty();
    }
    needs
}

/// The chain that takes a connection.
///
/// # Errors
/// [`Refusal::NoListener`], [`Refusal::PlaintextToStrict`], [`Refusal::TlsNotAccepted`], [`Refusal::NoChain`].
pub fn accept<'a>(snapshot: &'a Snapshot, listener: &str, facts: &Facts) -> Result<&'a Arc<Chain>, Refusal> {
    let listener =
        snapshot.listener(listener).ok_or_else(|| Refusal::NoListener { listener: listener.into() })?;
    let port = facts.destination.0.port();
    if is_own_port(listener, port) {
        return Err(Refusal::NoChain { port, origin: listener.origin.clone() });
    }
    most_specific(listener, facts).ok_or_else(|| refusal(listener, facts))
}

/// A connection that was aimed at the capture port itself would loop.
fn is_own_port(listener: &Listener, port: u16) -> bool {
    listener.captures && matches!(&listener.bind, BindAddress::Tcp(address) if address.port() == port)
}

fn most_specific<'a>(listener: &'a Listener, facts: &Facts) -> Option<&'a Arc<Chain>> {
    let candidates = listener.chains.towards(facts.destination);

    let name_rank =
        |chain: &Arc<Chain>| server_name_rank(&chain.matches.server_names, facts.server_name.as_deref());
    let best = candidates.clone().filter_map(name_rank).max()?;
    let of_name = candidates.filter(move |chain| name_rank(chain) == Some(best));

    let asked = |chain: &Arc<Chain>| chain.matches.transport == Some(facts.transport);
    let transport = of_name.clone().any(asked).then_some(facts.transport);
    let mut of_transport = of_name.filter(move |chain| chain.matches.transport == transport);

    let named = facts.application_protocols.iter().find_map(|offered| {
        let names =
            |chain: &&Arc<Chain>| chain.matches.application_protocols.iter().any(|name| **name == **offered);
        of_transport.clone().find(names)
    });
    named.or_else(|| of_transport.find(|chain| chain.matches.application_protocols.is_empty()))
}

/// An exact name beats a wildcard, a longer wildcard a shorter one, and any name none. `None`: no match.
fn server_name_rank(names: &[Arc<str>], server_name: Option<&str>) -> Option<usize> {
    if names.is_empty() {
        return Some(0);
    }
    let server_name = server_name?;
    let rank = |name: &Arc<str>| match name.strip_prefix('*') {
        Some(suffix) => server_name.ends_with(suffix).then_some(suffix.len() + 1),
        None => (**name == *server_name).then_some(usize::MAX),
    };
    names.iter().filter_map(rank).max()
}

/// Says why no chain was found, and whose decision that is.
fn refusal(listener: &Listener, facts: &Facts) -> Refusal {
    let port = facts.destination.0.port();
    let mut chains = listener.chains.towards(facts.destination);
    let Some(first) = chains.clone().next() else {
        return Refusal::NoChain { port, origin: listener.origin.clone() };
    };
    if facts.transport == Transport::Tls {
        return Refusal::TlsNotAccepted { port, origin: first.origin.clone() };
    }
    let strict = chains.clone().all(|chain| chain.matches.transport == Some(Transport::Tls));
    match chains.find(|chain| strict && chain.tls.is_some()) {
        Some(chain) => Refusal::PlaintextToStrict { origin: chain.origin.clone() },
        None => Refusal::NoChain { port, origin: first.origin.clone() },
    }
}

#[cfg(test)]
mod tests;
