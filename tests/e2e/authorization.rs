//! AuthorizationPolicy on real traffic: 403 with Istio's text, or a closed connection, and the line that decided.

use std::io::Read;

use serde_json::{Value, json};
use sidering_tests::{
    Connection, HOST, Pair, Run, allow, asked, on_both_drivers, on_every_backend, origin, record,
};

on_every_backend!(a_request_that_no_rule_allows_is_403, principals_are_the_verified_ones);

on_both_drivers!(
    deny_wins_and_names_its_line,
    rules_read_method_path_host_and_headers,
    tcp_that_no_rule_allows_is_closed,
    a_policy_without_rules_denies_everything,
    a_dry_run_denies_nothing_and_says_what_it_would,
);

const CLIENT: &str = "cluster.local/ns/default/sa/client";

fn a_request_that_no_rule_allows_is_403(run: Run) {
    let rule = format!(
        "from: [{{source: {{principals: [{CLIENT}]}}}}]\n    to: [{{operation: {{methods: [GET]}}}}]"
    );
    let pair = Pair::with(run).yaml("readers.yaml", allow("readers", &rule)).start();
    let mut connection = pair.http();
    assert_eq!(connection.get(HOST, "/").status, 200);
    let reply = connection.request("DELETE", HOST, "/", &[], b"");
    assert_eq!((reply.status, reply.text()), (403, "RBAC: access denied"));
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    assert_eq!(connection.get(HOST, "/").status, 200, "the connection goes on");
    assert_eq!(pair.origin.seen().len(), 2);
    let policy = origin("AuthorizationPolicy", "default/readers", "readers.yaml:1:1");
    let mut expected = refused(&pair, "DELETE", "/");
    expected["origin"] = policy.clone();
    expected["policies"] = json!([policy]);
    pair.server.on_record("not-allowed-by-policy", expected);
}

/// On record at the server: the client's request.
fn refused(pair: &Pair, method: &str, path: &str) -> Value {
    let rest = json!({
        "request": asked(method, HOST, path),
        "presented": pair.client_files.presented(&[&format!("spiffe://{CLIENT}")]),
        "server_name": "outbound_.8080_._.server.default.svc.cluster.local",
        "detail": "*",
    });
    record("inbound", "authorize", "127.0.0.1:*", pair.server_http(), rest)
}

fn a_dry_run_denies_nothing_and_says_what_it_would(run: Run) {
    let rules =
        "to: [{operation: {paths: [/admin], ports: ['18080']}}]\n  - to: [{operation: {ports: ['19090']}}]";
    let planned = allow("planned", rules)
        .replace("name: planned", "name: planned, annotations: {istio.io/dry-run: 'true'}")
        .replace("action: ALLOW", "action: DENY");
    let pair = Pair::with(run).yaml("planned.yaml", planned).start();
    for (path, would_deny) in [("/", None), ("/admin", Some("default/planned[0] ("))] {
        assert_eq!(pair.get(path).status, 200);
        let line = pair.server.logged(path, |line| line["path"] == path);
        let found = line["would_deny"].as_str();
        assert_eq!(
            found.map(|text| text.contains(would_deny.unwrap_or("?"))),
            would_deny.map(|_| true),
            "{line}"
        );
        assert_eq!(line["policy"], Value::Null, "{line}");
    }
    let mut tcp = pair.tcp();
    tcp.send("ping").stream().read_exact(&mut [0; 4]).expect("an echo");
    drop(tcp);
    let line = pair.server.logged("the connection", |line| line["method"].is_null());
    assert!(line["would_deny"].as_str().is_some_and(|text| text.contains("default/planned[1] (")), "{line}");
    assert_eq!(pair.server.metric("sidering_dry_run_denials_total", &[]), 2.0);
}

fn principals_are_the_verified_ones(run: Run) {
    let rule = "from: [{source: {principals: [cluster.local/ns/default/sa/other]}}]";
    let pair = Pair::with(run).yaml("other.yaml", allow("other", rule)).start();
    assert_eq!(pair.get("/").status, 403);
    let claimed = [("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/default/sa/other")];
    assert_eq!(pair.http().request("GET", HOST, "/", &claimed, b"").status, 403);
    assert_eq!(Connection::to(pair.server_http()).get(HOST, "/").status, 403, "plaintext has no principal");
    let rule = format!("from: [{{source: {{principals: [{CLIENT}]}}}}]");
    pair.reload(|mesh| mesh.write("other.yaml", &allow("other", &rule)));
    assert_eq!(pair.get("/").status, 200);
}

fn deny_wins_and_names_its_line(run: Run) {
    let deny = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/metrics]}}]
  - to: [{operation: {paths: [/admin*]}}]
";
    let setup = Pair::with(run).yaml("deny.yaml", deny).yaml("all.yaml", allow("all", "{}"));
    let pair = setup.start();
    assert_eq!(pair.get("/").status, 200);
    for path in ["/admin", "/admin/users?x=1", "/x/../admin", "/%61dmin"] {
        assert_eq!(pair.get(path).status, 403, "{path}");
    }
    let mut expected = refused(&pair, "GET", "/admin");
    expected["origin"] = origin("AuthorizationPolicy", "default/no-admin[1]", "deny.yaml:8:5");
    pair.server.on_record("denied-by-policy", expected);
}

fn rules_read_method_path_host_and_headers(run: Run) {
    let rule = format!(
        "to: [{{operation: {{methods: [POST], paths: [/orders/*], hosts: [{HOST}]}}}}]\n    \
         when: [{{key: 'request.headers[x-tenant]', values: [blue]}}]"
    );
    let pair = Pair::with(run).yaml("orders.yaml", allow("orders", &rule)).start();
    let ask = |method, path, tenant| {
        let headers = [("x-tenant", tenant)];
        pair.http().request(method, HOST, path, &headers, b"").status
    };
    assert_eq!(ask("POST", "/orders/7", "blue"), 200);
    assert_eq!(ask("GET", "/orders/7", "blue"), 403);
    assert_eq!(ask("POST", "/invoices/7", "blue"), 403);
    assert_eq!(ask("POST", "/orders/7", "red"), 403);
    let mut connection = Connection::to(pair.server_http());
    assert_eq!(
        connection.request("POST", "elsewhere", "/orders/7", &[("x-tenant", "blue")], b"").status,
        403
    );
}

fn tcp_that_no_rule_allows_is_closed(run: Run) {
    let rule = "to: [{operation: {ports: ['18080']}}]";
    let pair = Pair::with(run).yaml("ports.yaml", allow("ports", rule)).start();
    assert_eq!(pair.get("/").status, 200);
    Connection::expect_refused(pair.subnet.address(1, 9090), b"hello");
    assert_eq!(pair.tcp_origin.accepted(), 0);
    let policy = origin("AuthorizationPolicy", "default/ports", "ports.yaml:1:1");
    let rest = json!({
        "presented": pair.client_files.presented(&[&format!("spiffe://{CLIENT}")]),
        "server_name": "outbound_.9090_._.server.default.svc.cluster.local",
        "origin": policy,
        "policies": [policy],
        "detail": "*",
    });
    let expected = record("inbound", "authorize", "127.0.0.1:*", pair.server_tcp(), rest);
    pair.server.on_record("not-allowed-by-policy", expected);
}

fn a_policy_without_rules_denies_everything(run: Run) {
    let nothing = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: istio-system}
spec: {}
";
    let pair = Pair::with(run).yaml("nothing.yaml", nothing).start();
    assert_eq!(pair.get("/").status, 403);
    pair.reload(|mesh| mesh.remove("nothing.yaml"));
    assert_eq!(pair.get("/").status, 200);
}
