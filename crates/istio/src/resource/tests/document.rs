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
        (&nested, "x.yaml:1:67: error: nested deeper than 64 levels"),
    ] {
        let found = diagnostics(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let large = " ".repeat(11 << 20);
    assert_eq!(diagnostics(&large), ["x.yaml:1:1: error: larger than 10 MiB; split the file"]);
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
