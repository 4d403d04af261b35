use super::*;

fn read(text: &str) -> (MeshConfig, Vec<String>) {
    let (mesh, diagnostics) = MeshConfig::parse(&Source { file: "mesh.yaml".into(), text }, None);
    (mesh, diagnostics.iter().map(ToString::to_string).collect())
}

#[test]
fn every_field_is_read() {
    let (mesh, diagnostics) = read(
        "trustDomain: prod.example
trustDomainAliases: [old.example, prod.example, a@b.example]
rootNamespace: mesh-root
enableAutoMtls: false
pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
protocolDetectionTimeout: 1.5s
connectTimeout: 3s
meshMTLS: {minProtocolVersion: TLSV1_3, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]}
caCertificates: [{trustDomains: [partner.example, old.example]}]
defaultDestinationRuleExportTo: [.]
",
    );
    assert_eq!(diagnostics, Vec::<String>::new());
    let domains: Vec<_> = mesh.trust_domains().iter().map(ToString::to_string).collect();
    assert_eq!(domains, ["prod.example", "old.example", "a.b.example", "partner.example"]);
    assert_eq!(&*mesh.root_namespace, "mesh-root");
    assert!(!mesh.enable_auto_mtls);
    assert_eq!(mesh.path_normalization, PathNormalization::DecodeAndMergeSlashes);
    assert_eq!(mesh.outbound_traffic_policy, OutboundTrafficPolicy::RegistryOnly);
    assert_eq!(mesh.protocol_detection_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(mesh.connect_timeout, Duration::from_secs(3));
    assert_eq!(mesh.mesh_mtls.min_version, TlsVersion::Tls13);
    assert_eq!(mesh.default_destination_rule_export_to, [".".into()]);
}

#[test]
fn a_mistake_says_where_and_what_to_write() {
    for (text, expected) in [
        (
            "trustDomian: x",
            "mesh.yaml:1:1: error: unknown field `trustDomian` in mesh; did you mean `trustDomain`?",
        ),
        ("enableAutoMtls: yes", "mesh.yaml:1:17: error: enableAutoMtls must be true or false, not a string"),
        (
            "connectTimeout: fast",
            "mesh.yaml:1:17: error: connectTimeout \"fast\" is no duration; write it as 1.5s, 100ms or 1h30m",
        ),
        (
            "rootNamespace: 7",
            "mesh.yaml:1:16: error: rootNamespace must be a string, not a number; write \"7\"",
        ),
        (
            "accessLogFile: /dev/stdout",
            "mesh.yaml:1:16: warning: `accessLogFile` of mesh is decided, not executed: it has no effect yet",
        ),
    ] {
        assert_eq!(read(text).1, [expected], "{text}");
    }
}

#[test]
fn a_key_of_the_bootstrap_file_may_hold_it() {
    let source = Source {
        file: "sidering.yaml".into(),
        text: "workload: {name: a}\nmesh: {trustDomain: b.example}\n",
    };
    let (mesh, diagnostics) = MeshConfig::parse(&source, Some("mesh"));
    assert_eq!((mesh.trust_domain.as_str(), diagnostics), ("b.example", Vec::new()));
}
