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

/// Two services of a namespace that is STRICT, of which `web` may read orders.
const SHOP: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, targetPort: 8080, protocol: HTTP, name: http}, {number: 90, protocol: TCP, name: tcp}]
  endpoints: [{address: 10.0.0.1, serviceAccount: orders, labels: {app: orders}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, protocol: HTTP, name: http}]
  endpoints: [{address: 10.0.0.2, serviceAccount: web, labels: {app: web}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET]}}]
";

#[test]
fn the_files_say_what_would_become_of_a_connection() {
    let place = Place::new();
    place.write("mesh/shop.yaml", SHOP);
    let ask = |more: &[&str]| {
        let of = ["explain", "--offline", "mesh", "--from", "shop/web", "--to", "orders", "--port"];
        place.sidering(&[&of, more].concat())
    };
    let says = |said: crate::place::Said, code: i32, parts: &[&str]| {
        assert_eq!(said.code, code, "{said:?}");
        let mut rest = said.out.as_str();
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not there, or too early: {said:?}"));
            rest = &rest[at + part.len()..];
        }
    };
    says(
        ask(&["80"]),
        0,
        &[
            "GET / of orders:80, from spiffe://cluster.local/ns/shop/sa/web\n",
            "  route      outbound|80||orders.shop.svc.cluster.local, by ServiceEntry shop/orders (mesh/shop.yaml:1:1)\n",
            "  dial       by ISTIO_MUTUAL, SNI outbound_.80_._.orders.shop.svc.cluster.local, expects spiffe://cluster.local/ns/shop/sa/orders (",
            "), by default auto mTLS\n  naming     the server is spiffe://cluster.local/ns/shop/sa/orders, as expected\n",
            "  server     10.0.0.1:8080 is shop/orders as listed, by ServiceEntry shop/orders (mesh/shop.yaml:9:15)\n",
            "  accept     port 8080 is STRICT: mutual TLS is taken, by PeerAuthentication shop/default (mesh/strict.yaml:4:21)\n",
            "  authorize  allowed, by AuthorizationPolicy shop/readers[0] (mesh/shop.yaml:27:5)\n\nIt would pass.\n",
        ],
    );
    says(
        ask(&["80", "--method", "PUT"]),
        1,
        &[
            "  authorize  refused: no ALLOW rule matches\n\nIt would be refused: ",
            "1. AuthorizationPolicy shop/readers[0] (mesh/shop.yaml:27:5): add `PUT` to to.operation.methods, which has `GET`\n",
        ],
    );
    says(
        ask(&["80", "--plaintext"]),
        1,
        &[
            "  client     has no sidecar: it speaks plaintext\n  server     10.0.0.1:8080 is",
            "  accept     refused: plaintext, and PeerAuthentication shop/default (mesh/strict.yaml:4:21) wants mutual TLS\n",
            "1. the client uses mutual TLS",
            "2. PeerAuthentication shop/default (mesh/strict.yaml:4:21): let port 8080 be PERMISSIVE",
        ],
    );
    says(ask(&["90"]), 1, &["a connection to orders:90", "sends bytes to its sidecar", "authorize  refused"]);
    says(ask(&["81"]), 0, &["PassthroughCluster", "no resource declares it"]);
    place.write("mesh.yaml", "trustDomain: elsewhere.org\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\n");
    says(
        ask(&["80", "--mesh", "mesh.yaml"]),
        0,
        &["spiffe://elsewhere.org/ns/shop/sa/orders", "It would pass"],
    );
    let stranger = [
        "explain",
        "--offline",
        "mesh",
        "--from",
        "shop/web",
        "--to",
        "nobody",
        "--port",
        "80",
        "--mesh",
        "mesh.yaml",
    ];
    says(
        place.sidering(&stranger),
        1,
        &["declares nobody", "refused: no virtual host", "let outboundTrafficPolicy be ALLOW_ANY"],
    );

    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: orders, namespace: shop}\nspec:\n  host: orders.shop.svc.cluster.local\n  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: [spiffe://cluster.local/ns/shop/sa/order]}}\n";
    place.write("mesh/rule.yaml", rule);
    says(
        ask(&["80"]),
        1,
        &[
            "  naming     refused: presented spiffe://cluster.local/ns/shop/sa/orders, expected one of spiffe://cluster.local/ns/shop/sa/order\n",
            "1. DestinationRule shop/orders (mesh/rule.yaml:6:31): if the server is the right one, list `spiffe://cluster.local/ns/shop/sa/orders`",
            "2. the server presents a certificate for `spiffe://cluster.local/ns/shop/sa/order`",
        ],
    );
    let said = ask(&["80", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let way = &told["ways"][0];
    assert_eq!((&told["passes"], &way["steps"][3]["step"]), (&false.into(), &"naming".into()), "{told:#}");
    assert_eq!(way["remedies"][0]["changes"][0]["at"]["label"], "shop/orders", "{told:#}");
}

#[test]
fn a_question_to_files_is_whole_or_refused() {
    let place = Place::new();
    let ask = |arguments: &[&str]| place.sidering(&[&["explain"], arguments].concat());
    let whole = ["--from", "shop/web", "--to", "orders.shop", "--port", "80"];
    ask(&["--offline", "mesh", "--from", "shop/web", "--port", "80"]).is(2, &["--to"]);
    ask(&[&["--offline", "nowhere"], &whole[..]].concat()).is(2, &["nowhere: no such file or directory"]);
    ask(&[&["--offline"], &whole[..]].concat()).is(2, &["needs files or directories"]);
    ask(&[&["--offline", "mesh", "--header", "x"], &whole[..]].concat()).is(2, &["name:value"]);
    ask(&[&["--offline", "mesh", "--path", "x"], &whole[..]].concat())
        .is(2, &["--path \"x\" cannot be normalised"]);
    ask(&[&["--offline", "mesh", "--plaintext"], &whole[..]].concat())
        .is(2, &["no resource lists an endpoint of orders.shop"]);
    ask(&["--offline", "mesh", "--from", "web", "--to", "a", "--port", "80"])
        .is(2, &["--from \"web\"", "NAMESPACE/SERVICEACCOUNT"]);
    ask(&["--to", "orders"]).is(2, &["--offline"]);
    ask(&[&["--offline", "--config", "sidering.yaml"], &whole[..]].concat()).is(0, &[]);
    place.write("mesh/broken.yaml", &STRICT.replace("STRICT", "STRIKT").replace("default", "broken"));
    ask(&[&["--offline", "mesh"], &whole[..]].concat()).is(2, &["mesh/broken.yaml:4:"]);
}
