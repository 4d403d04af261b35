//! `Effective` and `accept` agree, for every kind of client: what the mode of a port says is what its chains take.

use proptest::prelude::*;
use sidering_policy::{Filter, Refusal, needs};

use crate::fixture::{Opens, accepted, captured, facts, resources, snapshot_of, workload};
use crate::{CaptureListeners, Effective, MeshConfig, MtlsMode};

const MODES: &[&str] = &["UNSET", "DISABLE", "PERMISSIVE", "STRICT"];
const PORTS: &[u16] = &[8080, 8081, 8082, 8083];
/// The last port is nobody's.
const PROTOCOLS: &[&str] = &[", protocol: HTTP", ", protocol: TCP", ""];

fn policy(
    namespace: &str,
    name: usize,
    selector: bool,
    mode: usize,
    port: usize,
    port_mode: usize,
) -> String {
    let selected = format!(
        "selector: {{matchLabels: {{app: orders}}}}, portLevelMtls: {{{}: {{mode: {}}}}}, ",
        PORTS[port], MODES[port_mode]
    );
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p{name}, namespace: {namespace}}}\nspec: {{{}mtls: {{mode: {}}}}}\n---\n",
        if selector { &*selected } else { "" },
        MODES[mode]
    )
}

fn services() -> String {
    let port = |(port, protocol): (&u16, &&str)| format!("{{number: {port}, name: p{port}{protocol}}}");
    let ports: Vec<String> = PORTS.iter().zip(PROTOCOLS).map(port).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: orders, namespace: shop}}\nspec: {{hosts: [orders.example], location: MESH_INTERNAL, resolution: STATIC, ports: [{}], endpoints: [{{address: 127.0.0.2}}]}}\n---\n",
        ports.join(", ")
    )
}

/// What a client opens with, and what a reader of the rules expects of it: the protocol inside, and whether TLS is
/// terminated; `None` where it is refused.
fn expected(mode: MtlsMode, class: &str, opens: Opens<'_>) -> Option<(&'static str, bool)> {
    let of_class = |found: &'static str| match class {
        ", protocol: HTTP" => "HTTP",
        ", protocol: TCP" => "TCP",
        _ => found,
    };
    match opens {
        Opens::Raw(_) if mode == MtlsMode::Strict => None,
        Opens::Raw(sniffed) => {
            Some((of_class(if matches!(sniffed, "http/1.1" | "h2c") { "HTTP" } else { "TCP" }), false))
        }
        Opens::Tls(tokens) => {
            let offers = |known: &[&str]| tokens.iter().any(|token| known.contains(token));
            let http = offers(&["istio-http/1.0", "istio-http/1.1", "istio-h2"]);
            let mesh = http || offers(&["istio", "istio-peer-exchange"]);
            let found = of_class(if http { "HTTP" } else { "TCP" });
            match mode {
                MtlsMode::Strict => Some((found, true)),
                MtlsMode::Permissive if mesh => Some((found, true)),
                MtlsMode::Permissive if found == "HTTP" => None,
                MtlsMode::Permissive => Some(("TCP", false)),
                MtlsMode::Disable => None,
            }
        }
    }
}

/// Plaintext of every kind, mesh clients, ordinary TLS.
const CLIENTS: &[Opens<'_>] = &[
    Opens::Raw(""),
    Opens::Raw("http/1.0"),
    Opens::Raw("http/1.1"),
    Opens::Raw("h2c"),
    Opens::Tls(&["istio-http/1.0", "istio", "http/1.0"]),
    Opens::Tls(&["istio-http/1.1", "istio", "http/1.1"]),
    Opens::Tls(&["istio-h2", "istio", "h2"]),
    Opens::Tls(&["istio-peer-exchange", "istio"]),
    Opens::Tls(&["istio"]),
    Opens::Tls(&["h2", "http/1.1"]),
    Opens::Tls(&["Istio", "istiox", "http/1.1"]),
    Opens::Tls(&[]),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_mode_of_a_port_is_what_its_chains_take(
        policies in proptest::collection::vec((0..3usize, any::<bool>(), 0..4usize, 0..4usize, 0..4usize), 0..5),
    ) {
        let namespaces = ["istio-system", "shop", "bank"];
        let mut text = services();
        for (index, (namespace, selector, mode, port, port_mode)) in policies.iter().enumerate() {
            text += &policy(namespaces[*namespace], index, *selector, *mode, *port, *port_mode);
        }
        let effective = Effective::of(&resources(&text), &MeshConfig::default(), &workload("shop", "orders"));
        let capture = CaptureListeners { inbound: Some(captured("0.0.0.0:15006")), outbound: None };
        let snapshot = snapshot_of(&effective, &capture);
        for port in PORTS {
            let decided = effective.authentication().at(*port);
            let take = |opens| accepted(&snapshot, "virtualInbound", *port, opens);
            let class = PROTOCOLS.get((*port - PORTS[0]) as usize).copied().unwrap_or_default();
            let needs = needs(snapshot.listener("virtualInbound").unwrap(), facts(*port, Opens::Raw("")).destination);
            prop_assert_eq!(needs.tls, decided.mode != MtlsMode::Disable, "nobody looks for TLS where none is taken");
            for opens in CLIENTS {
                match (take(*opens), expected(decided.mode, class, *opens)) {
                    (Ok(chain), Some((protocol, terminated))) => {
                        let found = if matches!(chain.filter, Filter::Http(_)) { "HTTP" } else { "TCP" };
                        prop_assert_eq!((found, chain.tls.is_some()), (protocol, terminated), "{:?}", opens);
                        prop_assert_eq!(&chain.origin, &decided.by);
                    }
                    (Err(Refusal::PlaintextToStrict { origin }), None) => {
                        prop_assert_eq!((decided.mode, &origin), (MtlsMode::Strict, &decided.by));
                        prop_assert!(matches!(opens, Opens::Raw(_)));
                    }
                    (Err(Refusal::TlsNotAccepted { origin, .. }), None) => {
                        prop_assert_eq!(&origin, &decided.by);
                        prop_assert!(matches!(opens, Opens::Tls(_)));
                    }
                    (found, expected) => prop_assert!(false, "{opens:?} at {port}: {found:?}, not {expected:?}"),
                }
            }
        }
    }
}
