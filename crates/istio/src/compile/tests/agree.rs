//! `Effective` and `accept` agree: what the mode of a port says is what its chains take.

use proptest::prelude::*;
use sidering_policy::Refusal;

use crate::fixture::{Opens, accepted, captured, resources, snapshot_of, workload};
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
            for plaintext in [Opens::Raw(""), Opens::Raw("http/1.1"), Opens::Raw("http/1.0"), Opens::Raw("h2c")] {
                match take(plaintext) {
                    Ok(chain) => prop_assert!(decided.mode != MtlsMode::Strict && chain.tls.is_none()),
                    Err(refusal) => {
                        prop_assert_eq!(decided.mode, MtlsMode::Strict);
                        prop_assert_eq!(refusal, Refusal::PlaintextToStrict { origin: decided.by.clone() });
                    }
                }
            }
            for mesh in [&["istio-http/1.1", "istio"][..], &["istio"], &["istio-peer-exchange", "istio"], &["istio-h2"]] {
                let chain = take(Opens::Tls(mesh));
                let terminated = chain.as_ref().is_ok_and(|chain| chain.tls.is_some());
                prop_assert_eq!(terminated, decided.mode != MtlsMode::Disable);
                if let Ok(chain) = chain {
                    prop_assert_eq!(&chain.origin, &decided.by);
                }
            }
            if let Ok(chain) = take(Opens::Tls(&["h2", "http/1.1"])) {
                prop_assert_eq!(chain.tls.is_some(), decided.mode == MtlsMode::Strict, "other TLS is opaque or mTLS");
            }
        }
    }
}
