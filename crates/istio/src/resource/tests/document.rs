//! YAML, kinds and versions, metadata.

use crate::fixture::diagnostics;
use crate::{Diagnostic, Source, parse};

#[test]
fn yaml_that_cannot_be_trusted_is_refused() {
    let nested = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
    for (text, expected) in [
        (
            "a: &x 1\nb: *x",
            "x.yaml:1:4: error: anchors are not supported; write the value out where it is needed",
        ),
        ("a: 1\nb:\n  c: 1\n  c: 2", "x.yaml:4:3: error: `c` is written twice; keep one of them"),
        ("<<: {a: 1}", "x.yaml:1:1: error: merge keys are not supported; write the fields out"),
        ("a: !!str 1", "x.yaml:1:4: error: tags are not supported; remove it"),
        ("? [a]\n: b", "x.yaml:1:3: error: a key must be a plain word or a quoted string"),
        ("a: {b", "x.yaml:2:1: error: not valid YAML"),
        ("- a", "x.yaml:1:1: error: the document must be a mapping, not a list"),
        (&nested, "x.yaml:1:67: error: nested deeper than 64 levels; write it flatter"),
    ] {
        let found = diagnostics(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let large = " ".repeat(11 << 20);
    assert_eq!(diagnostics(&large), ["x.yaml:1:1: error: larger than 10 MiB; split the file"]);
    let tokens = "[],".repeat(333_334);
    assert_eq!(
        diagnostics(&tokens),
        ["x.yaml:1:1: error: more than 1,000,000 of `,` `:` `[` `]` `{` `}`; split the file"]
    );
    let values = "- a\n".repeat(1_000_000);
    assert_eq!(diagnostics(&values), ["x.yaml:1000000:3: error: more than 1,000,000 values; split the file"]);
}

#[test]
fn what_is_not_utf_8_says_where() {
    for (content, expected) in [
        (&b"\xff"[..], "x.yaml:1:1: error: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a: é\nb: éé".as_bytes(), ""),
        (
            b"a: \xc3\xa9\n b: \xc3\xa9\xc3\xa9\xe9",
            "x.yaml:2:7: error: byte 0xe9 is not UTF-8; save the file as UTF-8",
        ),
        (b"a: \xf0\x9f", "x.yaml:1:4: error: byte 0xf0 is not UTF-8; save the file as UTF-8"),
    ] {
        let found =
            Source::of("x.yaml".into(), content).map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(found, expected);
    }
    // A byte order mark is none of the text.
    assert_eq!(
        diagnostics("\u{feff}apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n"),
        Vec::<String>::new()
    );
}

#[test]
fn the_first_thousand_findings_are_told_and_the_others_counted() {
    let items = "{}, ".repeat(1500);
    let text =
        format!("apiVersion: v1\nkind: List\nitems: [{items}]\n---\napiVersion: v1\nkind: Namespace\n");
    let found = diagnostics(&text);
    assert_eq!(found.len(), 1002);
    assert_eq!(found[999], "x.yaml:3:4005: error: a resource needs `apiVersion` and `kind`");
    assert_eq!(found[1000], "x.yaml:5:1: warning: Namespace is ignored: it means nothing here yet");
    assert_eq!(found[1001], "x.yaml:3:4005: error: there are 500 more errors; mend these first");
    // Whatever else there is to say, an error among it refuses the load.
    let warnings = "{apiVersion: v1, kind: Namespace}, ".repeat(1500);
    let found = diagnostics(&format!("apiVersion: v1\nkind: List\nitems: [{warnings} {{}}]"));
    assert_eq!(found.iter().filter(|line| line.contains(": error: ")).count(), 1);
    // Fields that are unknown are counted, too.
    let fields: String = (0..1500).map(|n| format!("  f{n}: 1\n")).collect();
    let found = diagnostics(&format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: a}}\nspec:\n{fields}"
    ));
    assert_eq!(found.last().unwrap(), "x.yaml:1004:3: error: there are 500 more errors; mend these first");
}

#[test]
fn a_wrong_type_says_which_one_belongs_there() {
    for (kind, spec, expected) in [
        ("PeerAuthentication", "7", "4:7: error: PeerAuthentication spec must be a mapping, not a number"),
        ("PeerAuthentication", "{mtls: STRICT}", "4:14: error: mtls must be a mapping, not a string"),
        ("PeerAuthentication", "{mtls: {mode: [STRICT]}}", "4:21: error: mode must be a string, not a list"),
        (
            "PeerAuthentication",
            "{mtls: {mode: true}}",
            "4:21: error: mode must be a string, not a boolean; write \"true\"",
        ),
        ("PeerAuthentication", "{selector: [a]}", "4:18: error: selector must be a mapping, not a list"),
        (
            "PeerAuthentication",
            "{selector: {matchLabels: {app: 7}}}",
            "4:38: error: a selector's label must be a string, not a number; write \"7\"",
        ),
        ("AuthorizationPolicy", "{rules: {}}", "4:15: error: rules must be a list, not a mapping"),
        ("AuthorizationPolicy", "{rules: [{from: x}]}", "4:23: error: from must be a list, not a string"),
        (
            "AuthorizationPolicy",
            "{rules: [{to: [{operation: {ports: [80]}}]}]}",
            "4:43: error: ports must be a string, not a number; write \"80\"",
        ),
        (
            "DestinationRule",
            "{host: 7, trafficPolicy: {tls: {mode: DISABLE}}}",
            "4:14: error: host must be a string, not a number; write \"7\"",
        ),
        (
            "DestinationRule",
            "{host: a, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: 'true'}}}",
            "4:73: error: insecureSkipVerify must be true or false, not a string",
        ),
        (
            "DestinationRule",
            "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: '80'}, tls: {mode: DISABLE}}]}}",
            "4:69: error: port number must be a whole number, not a string",
        ),
        (
            "DestinationRule",
            "{host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 5}}}}",
            "4:72: error: connectTimeout must be a string, not a number; write \"5\"",
        ),
        (
            "ServiceEntry",
            "{hosts: a.example, resolution: STATIC, ports: [{number: 80, name: a}]}",
            "4:15: error: hosts must be a list, not a string",
        ),
    ] {
        let found = super::of_spec(kind, spec);
        assert!(found.contains(&format!("x.yaml:{expected}")), "{kind} {spec}: {found:?}");
    }
}

#[test]
fn what_is_no_resource_of_ours() {
    for (text, expected) in [
        ("kind: PeerAuthentication", "x.yaml:1:1: error: a resource needs `apiVersion` and `kind`"),
        (
            "apiVersion: security.istio.io/v2\nkind: PeerAuthentication",
            "x.yaml:1:1: error: PeerAuthentication has no apiVersion \"security.istio.io/v2\"; write security.istio.io/v1",
        ),
        (
            "apiVersion: v1\nkind: PeerAuthentication",
            "x.yaml:1:1: error: PeerAuthentication has no apiVersion \"v1\"; write security.istio.io/v1",
        ),
        (
            "apiVersion: serving.knative.dev/v1\nkind: Service",
            "x.yaml:1:1: warning: Service of serving.knative.dev/v1 is ignored; v1 is supported",
        ),
        (
            "apiVersion: apps.kruise.io/v1beta1\nkind: StatefulSet",
            "x.yaml:1:1: warning: StatefulSet of apps.kruise.io/v1beta1 is ignored; apps/v1 is supported",
        ),
        (
            "apiVersion: apps/v1beta2\nkind: Deployment",
            "x.yaml:1:1: warning: Deployment of apps/v1beta2 is ignored; apps/v1 is supported",
        ),
        ("apiVersion: v2\nkind: Service", "x.yaml:1:1: error: Service has no apiVersion \"v2\"; write v1"),
        (
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter",
            "x.yaml:1:1: warning: EnvoyFilter is ignored: it is not supported and never will be",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthorisation",
            "x.yaml:1:1: error: security.istio.io has no kind \"PeerAuthorisation\"; check its spelling",
        ),
        (
            "apiVersion: security.isito.io/v1\nkind: PeerAuthentication",
            "x.yaml:1:1: error: PeerAuthentication has no apiVersion \"security.isito.io/v1\"; write security.istio.io/v1",
        ),
        (
            "apiVersion: example.com/v1\nkind: Orchard",
            "x.yaml:1:1: warning: unknown kind \"Orchard\" (example.com/v1) is ignored; check its spelling",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec: {}",
            "x.yaml:1:1: error: PeerAuthentication needs metadata with a name",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, creationTimestamp: yesterday}",
            "x.yaml:3:40: error: creationTimestamp \"yesterday\" is no UTC time; write it as 2026-03-01T10:00:00Z",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspc: {}",
            "x.yaml:4:1: error: unknown field `spc` in PeerAuthentication; did you mean `spec`?",
        ),
    ] {
        assert_eq!(diagnostics(text), [expected], "{text}");
    }
}

#[test]
fn a_name_is_taken_once_and_a_list_is_its_items() {
    let one =
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, namespace: shop}}";
    assert_eq!(
        diagnostics(&format!("apiVersion: v1\nkind: List\nitems:\n- {one}\n- {one}\n")),
        ["x.yaml:5:3: error: PeerAuthentication shop/a is already defined at x.yaml:4:3; keep one of them"]
    );
}

#[test]
fn a_pod_template_refuses_no_load_that_did_without_it() {
    let one = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: shop}, spec: {template: {spec: {serviceAccountName: \"\"}}}}";
    assert_eq!(
        diagnostics(&format!("apiVersion: v1\nkind: List\nitems:\n- {one}\n- {one}\n")),
        ["x.yaml:5:3: warning: Deployment shop/a is already defined at x.yaml:4:3; keep one of them"]
    );
}

#[test]
fn every_istio_version_is_read() {
    for version in ["v1", "v1beta1"] {
        let text = format!(
            "apiVersion: security.istio.io/{version}\nkind: PeerAuthentication\nmetadata: {{name: a}}\n"
        );
        assert_eq!(diagnostics(&text), Vec::<String>::new());
    }
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let text = format!(
            "apiVersion: networking.istio.io/{version}\nkind: Sidecar\nmetadata: {{name: a}}\nspec: {{}}\n"
        );
        assert_eq!(diagnostics(&text), Vec::<String>::new());
    }
}

#[test]
fn diagnostics_come_by_file_and_line_whatever_the_order_of_sources() {
    let bad = |file: &str| Source { file: file.into(), text: "kind: A\n---\nkind: B\n" };
    let lines = |sources: &[Source<'_>]| -> Vec<String> {
        parse(sources).1.iter().map(|d: &Diagnostic| d.position.to_string()).collect()
    };
    let expected = ["a.yaml:1:1", "a.yaml:3:1", "b.yaml:1:1", "b.yaml:3:1"];
    assert_eq!(lines(&[bad("a.yaml"), bad("b.yaml")]), expected);
    assert_eq!(lines(&[bad("b.yaml"), bad("a.yaml")]), expected);
}
