//! The commands that need no running sidecar.

use std::path::Path;

use crate::place::{Place, STRICT, sidering};

#[test]
fn a_certificate_authority_is_made_and_issues() {
    let place = Place::new();
    place.sidering(&["ca", "init", "--directory", "ca"]).is(2, &["ca/ca.pem exists already"]);
    let issue = |arguments: &[&str]| place.sidering(&[&["ca", "issue", "--out", "x"], arguments].concat());
    issue(&["--directory", "nowhere", "--id", "spiffe://a/b"]).is(2, &["nowhere/ca.pem"]);
    issue(&["--directory", "ca", "--id", "https://a/b"]).is(2, &["spiffe://"]);
    issue(&["--directory", "ca", "--namespace", "shop"]).is(2, &["--service-account"]);
    let id = "spiffe://cluster.local/ns/a/sa/b";
    let said = issue(&["--directory", "ca", "--id", id, "--lifetime", "1h", "--dns", "b.a.svc", "b"]);
    said.is(0, &[]);
    assert!(said.out.contains("issued spiffe://cluster.local/ns/a/sa/b: x.pem and x.key"), "{said:?}");
    assert!(place.path("x.pem").exists() && place.path("x.key").exists());
}

#[test]
fn whoever_asks_a_sidecar_that_is_not_there_is_told() {
    let place = Place::new();
    for command in ["status", "certs", "drain", "explain"] {
        place
            .sidering(&[command, "--socket", "admin.sock"])
            .is(3, &["admin.sock: ", "is the sidecar running"]);
    }
    place.sidering(&["status", "--config", "sidering.yaml"]).is(3, &["admin.sock"]);
    place
        .sidering(&["wait", "--socket", "admin.sock", "--timeout", "100ms"])
        .is(124, &["not ready after 100ms"]);
    place.sidering(&["explain", "nonsense", "--socket", "admin.sock"]).is(1, &["nonsense"]);
    place.sidering(&["stats"]).is(2, &["stats"]);
    place.sidering(&["run"]).is(2, &["--config"]);
}

#[test]
fn lint_names_every_line() {
    let place = Place::new();
    let sound = place.sidering(&["lint", "mesh"]);
    assert_eq!((sound.code, sound.out.as_str()), (0, ""), "{sound:?}");
    place.write("mesh/broken.yaml", &STRICT.replace("STRICT", "STRIKT").replace("default", "broken"));
    let found = place.sidering(&["lint", "mesh"]);
    found.is(1, &["1 finding"]);
    assert!(found.out.starts_with("mesh/broken.yaml:4:"), "{found:?}");
    let found = place.sidering(&["lint", "mesh", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!((&found[0]["line"], &found[0]["severity"]), (&4.into(), &"error".into()), "{found:#}");
    place.sidering(&["lint", "nowhere"]).is(2, &["nowhere: no such file or directory"]);
}

#[test]
fn the_version_says_what_runs_here() {
    let said = sidering(Path::new("."), &["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["drivers"].as_array().unwrap().contains(&"epoll".into()), "{version:#}");
    assert!(!version["backends"].as_array().unwrap().is_empty(), "{version:#}");
}

#[test]
fn check_says_which_tests_failed_and_where_a_file_is_malformed() {
    let place = Place::new();
    let test = |expect: &str| {
        format!(
            "suite: s\nobjects:\n- apiVersion: security.istio.io/v1\n  kind: PeerAuthentication\n  metadata: {{name: p, namespace: shop}}\n  spec: {{mtls: {{mode: STRICT}}}}\ntests:\n- name: a < b\n  mtls: {{workload: {{namespace: shop}}}}\n  expect: {expect}\n"
        )
    };
    let check = |text: String, more: &[&str]| {
        std::fs::write(place.path("t.yaml"), text).unwrap();
        place.sidering(&[&["check", "t.yaml"], more].concat())
    };
    let said = check(test("{mode: STRICT}"), &[]);
    said.is(0, &[]);
    assert_eq!(said.out, "1 passed, 0 failed\n");
    let said = check(test("{mode: DISABLE, by: shop/p}"), &["--junit", "j.xml"]);
    said.is(1, &["1 test failed"]);
    for part in [
        "t.yaml: s: a < b: mtls",
        "mode: expected \"DISABLE\", got \"STRICT\"",
        "PeerAuthentication shop/p (t.yaml:6:",
        "0 passed, 1 failed",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let junit = std::fs::read_to_string(place.path("j.xml")).unwrap();
    assert!(
        junit.contains("<testcase name=\"a &lt; b\" classname=\"mtls\">") && junit.contains("<failure>"),
        "{junit}"
    );
    check(test("{mod: STRICT}"), &[]).is(2, &["t.yaml:10:12", "write one of mode, ports, by, trustDomains"]);
    check(test("{}"), &[]).is(2, &["t.yaml:10:11", "`expect` is empty", "write one of mode, ports, by"]);
    check("tests:\n- name: x\n  expect: {}\n".to_owned(), &[]).is(2, &["t.yaml:2:3", "exactly one question"]);
    check("include: [mesh/nope]\ntests: []\n".to_owned(), &[]).is(2, &["t.yaml:1:11", "mesh/nope"]);
    std::fs::write(place.path("strict.yaml"), STRICT).unwrap();
    let included = "include: [strict.yaml]\ntests:\n- name: x\n  mtls: {workload: {namespace: shop}}\n  expect: {mode: STRICT}\n";
    assert_eq!(check(included.to_owned(), &[]).out, "1 passed, 0 failed\n");
    check("test: []\n".to_owned(), &[]).is(2, &["t.yaml:1:1", "did you mean `tests`"]);
    check("suite: s\n".to_owned(), &[]).is(2, &["there is no test"]);
    check("a: [\n".to_owned(), &[]).is(2, &["t.yaml:"]);
    place.sidering(&["check"]).is(2, &[]);
    place.sidering(&["check", "absent.yaml"]).is(2, &["absent.yaml"]);
}

#[test]
fn a_header_is_absent_only_of_what_is_forwarded() {
    let place = Place::new();
    let check = |path: &str, expect: &str| {
        let text = format!(
            "objects:\n- {{apiVersion: v1, kind: Service, metadata: {{name: orders, namespace: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}\n- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  metadata: {{name: v, namespace: shop}}\n  spec: {{hosts: [orders], http: [{{match: [{{uri: {{exact: /gone}}}}], directResponse: {{status: 410}}}}, {{route: [{{destination: {{host: orders}}}}]}}]}}\ntests:\n- name: t\n  route: {{client: {{namespace: shop}}, request: {{host: orders, port: 80, path: {path}, headers: {{x-b: b}}}}}}\n  expect: {{absentHeaders: {expect}}}\n"
        );
        std::fs::write(place.path("t.yaml"), text).unwrap();
        place.sidering(&["check", "t.yaml"])
    };
    check("/", "[X-A]").is(0, &[]);
    check("/", "[x-a, X-B]").is(1, &["1 test failed"]);
    let said = check("/gone", "[x-a]");
    said.is(1, &["1 test failed"]);
    assert!(said.out.contains("absentHeaders: expected [\"x-a\"], got null"), "{said:?}");
    for wrong in ["x-a", "[5]", "{x-a: null}", "null"] {
        check("/", wrong).is(2, &["t.yaml:10:27", "must be a list of header names; write it as [x-user]"]);
    }
}
