//! What `explain` says would have let it pass, and that it does: each remedy that is told is followed.

use serde_json::{Value, json};
use sidering_tests::{
    Connection, HOST, Leaf, Pair, Run, Sidecar, allow, asked, destination_rule, on_both_drivers, origin,
    peer_authentication, virtual_service,
};

on_both_drivers!(
    plaintext_to_a_strict_port,
    a_mistyped_principal,
    every_rule_that_stands_in_the_way,
    a_host_that_nobody_declares,
    a_request_that_no_route_takes,
    a_subset_that_nobody_defines,
    a_server_that_is_somebody_else,
    a_client_of_another_trust_domain,
    an_endpoint_where_nothing_listens,
    records_are_found_by_peer_and_reason,
    a_record_holds_what_it_was_decided_by_and_no_header,
    a_malformed_head_is_in_the_access_log
);

/// What is told of the latest refusal, which is for that reason: in words, a remedy each.
#[track_caller]
fn told(sidecar: &Sidecar, reason: &str) -> Vec<String> {
    let record = sidecar.refusal(reason);
    let remedies = record["remedies"].as_array().unwrap_or_else(|| panic!("{record:#}"));
    remedies.iter().map(|remedy| remedy["what"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The same record is asked about again: now it would pass.
#[track_caller]
fn passes_now(sidecar: &Sidecar) {
    let record = sidecar.ask(&["explain", "last"]).json();
    assert_eq!((&record["refused_now"], &record["remedies"]), (&Value::Null, &json!([])), "{record:#}");
}

fn plaintext_to_a_strict_port(run: Run) {
    let pair = Pair::with(run).yaml("strict.yaml", peer_authentication("default", "STRICT")).start();
    let plain = || {
        let mut connection = Connection::to(pair.server_http());
        connection.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        connection
    };
    plain().expect_closed_without_a_byte();
    let told = told(&pair.server, "plaintext-to-strict");
    assert!(told[0].starts_with("the client uses mutual TLS: give it a sidecar"), "{told:?}");
    assert!(
        told[1].starts_with("PeerAuthentication default/default (")
            && told[1].contains("strict.yaml:4:21): let port 18080 be PERMISSIVE"),
        "{told:?}"
    );
    pair.server.reload(|| pair.mesh.write("strict.yaml", &peer_authentication("default", "PERMISSIVE")));
    assert_eq!(plain().reply_to("GET").status, 200);
    passes_now(&pair.server);
}

fn a_mistyped_principal(run: Run) {
    let policy =
        |principal: &str| allow("web", &format!("from: [{{source: {{principals: [{principal}]}}}}]"));
    let right = "cluster.local/ns/default/sa/client";
    let mistyped = "cluster.local/ns/default/sa/cleint";
    let pair = Pair::with(run).yaml("web.yaml", policy(mistyped)).start();
    assert_eq!(pair.get("/").status, 403);
    let told = told(&pair.server, "not-allowed-by-policy");
    assert!(
        told[0].starts_with("AuthorizationPolicy default/web[0] (") && told[0].contains("web.yaml:8:5): "),
        "{told:?}"
    );
    assert!(
        told[0].ends_with(&format!(
            "write `{right}` for `{mistyped}` in from.source.principals, if that is a slip"
        )),
        "{told:?}"
    );
    pair.server.reload(|| pair.mesh.write("web.yaml", &policy(right)));
    assert_eq!(pair.get("/").status, 200);
    passes_now(&pair.server);
}

fn every_rule_that_stands_in_the_way(run: Run) {
    let deny = allow("deny", "to: [{operation: {paths: [/admin*]}}]").replace("ALLOW", "DENY");
    let readers = allow("readers", "to: [{operation: {methods: [GET], paths: [/admin/x]}}]");
    let pair = Pair::with(run).yaml("deny.yaml", deny).yaml("readers.yaml", readers).start();
    assert_eq!(pair.http().request("PUT", HOST, "/admin/x", &[], b"").status, 403);
    let record = pair.server.refusal("denied-by-policy");
    let changes = record["remedies"][0]["changes"].as_array().cloned().unwrap_or_default();
    let said: Vec<_> =
        changes.iter().map(|change| (&change["at"]["label"], change["what"].as_str())).collect();
    assert_eq!(
        said,
        [
            (&json!("default/deny[0]"), Some("leave this request out: to.operation.paths has `/admin*`")),
            (&json!("default/readers[0]"), Some("add `PUT` to to.operation.methods, which has `GET`")),
        ],
        "{record:#}"
    );
    assert_eq!(record["remedies"][0]["verified"], true);
}

fn a_host_that_nobody_declares(run: Run) {
    let pair = Pair::start(run);
    assert_eq!(pair.http().get("server.defualt.svc.cluster.local", "/").status, 404);
    let told = told(&pair.client, "unknown-host");
    assert!(
        told[0].starts_with(&format!("the client asks for host `{HOST}`, which ServiceEntry default/server")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|line| line.starts_with("declare host `server.defualt.svc.cluster.local` with port 8080")),
        "{told:?}"
    );
}

fn a_request_that_no_route_takes(run: Run) {
    let routes = "  - match: [{uri: {prefix: /orders}, method: {exact: POST}}]\n    route: [{destination: {host: server.default.svc.cluster.local}}]\n";
    let pair = Pair::with(run).yaml("routes.yaml", virtual_service(routes)).start();
    assert_eq!(pair.get("/orders/1").status, 404);
    let told = told(&pair.client, "no-route");
    assert!(
        told[0].starts_with("VirtualService default/server[0] (") && told[0].contains("routes.yaml:7:5)"),
        "{told:?}"
    );
    assert!(told[0].ends_with("let the route take method `GET` (it wants `POST`)"), "{told:?}");
    let wider = routes.replace("POST", "GET");
    pair.client.reload(|| pair.mesh.write("routes.yaml", &virtual_service(&wider)));
    assert_eq!(pair.get("/orders/1").status, 200);
    passes_now(&pair.client);
}

fn a_subset_that_nobody_defines(run: Run) {
    let route = |subset: &str| {
        virtual_service(&format!(
            "  - route: [{{destination: {{host: server.default.svc.cluster.local, subset: {subset}}}}}]\n"
        ))
    };
    let subsets = destination_rule("  subsets: [{name: v3, labels: {version: v3}}]\n");
    let pair = Pair::with(run).yaml("route.yaml", route("v2")).yaml("rule.yaml", subsets).start();
    assert_eq!(pair.get("/").status, 503);
    let told = told(&pair.client, "no-cluster");
    assert!(told.contains(&format!("define subset `v2` in a DestinationRule for host `{HOST}`")), "{told:?}");
    pair.client.reload(|| pair.mesh.write("route.yaml", &route("v3")));
    assert_eq!(pair.get("/").status, 503);
    let told = self::told(&pair.client, "no-endpoint");
    assert!(told[0].contains("give an endpoint the labels that subset `v3` selects by"), "{told:?}");
}

fn a_server_that_is_somebody_else(run: Run) {
    let pair = Pair::with(run).server_leaf(Leaf::workload("default", "impostor")).start();
    assert_eq!(pair.get("/").status, 503);
    let told = told(&pair.client, "secure-naming-mismatch");
    assert_eq!(
        told[0],
        "the server presents a certificate for `spiffe://cluster.local/ns/default/sa/server`"
    );
    assert!(
        told[1].starts_with("ServiceEntry default/server (")
            && told[1].contains(
                "service.yaml:12:5): if the server is the right one, set `serviceAccount: impostor`"
            ),
        "{told:?}"
    );
    let service = std::fs::read_to_string(pair.mesh.path("service.yaml")).expect("the pair wrote it");
    let right = service.replace("serviceAccount: server", "serviceAccount: impostor");
    pair.client.reload(|| pair.mesh.write("service.yaml", &right));
    assert_eq!(pair.get("/").status, 200);
    passes_now(&pair.client);
}

fn a_client_of_another_trust_domain(run: Run) {
    let leaf = Leaf::nameless().uri("spiffe://elsewhere.org/ns/default/sa/client");
    let pair = Pair::with(run).client_leaf(leaf).start();
    assert_eq!(pair.get("/").status, 503);
    let told = told(&pair.server, "trust-domain-mismatch");
    assert_eq!(
        told,
        [
            "the client's certificate is issued as `spiffe://cluster.local/ns/default/sa/client`, in the trust domain of this mesh",
            "MeshConfig trustDomainAliases: list `elsewhere.org`",
        ]
    );
}

fn an_endpoint_where_nothing_listens(run: Run) {
    let pair = Pair::start(run);
    pair.move_endpoint("NET.7");
    assert_eq!(pair.get("/").status, 503);
    let record = pair.client.refusal("connect-refused");
    let remedy = &record["remedies"][0];
    assert_eq!((&remedy["verified"], &record["refused_now"]), (&json!(false), &Value::Null), "{record:#}");
    let what = remedy["what"].as_str().unwrap_or_default();
    let at = pair.subnet.address(7, 18080);
    assert!(
        what.starts_with(&format!("Nothing listens at {at}")) && what.contains("service.yaml:12:5"),
        "{what}"
    );
}

fn records_are_found_by_peer_and_reason(run: Run) {
    let pair =
        Pair::with(run).yaml("nobody.yaml", allow("nobody", "to: [{operation: {paths: [/no]}}]")).start();
    let mut connection = pair.http();
    assert_eq!(connection.get(HOST, "/a").status, 403);
    assert_eq!(connection.get("nobody.example", "/b").status, 404);
    pair.client.refusal("unknown-host");
    pair.server.refusal("not-allowed-by-policy");
    let port = connection.record("", "", json!({}))["peer"].as_str().expect("it has a peer").to_owned();
    let list = |arguments: &[&str]| {
        let told = pair.client.ask(&[&["explain"], arguments].concat());
        (told.code, if told.code == 0 { told.json().as_array().map_or(0, Vec::len) } else { 0 })
    };
    assert_eq!(list(&["--peer", &port]), (0, 1));
    assert_eq!(list(&["--peer", "127.0.0.1", "--reason", "unknown-host"]), (0, 1));
    assert_eq!(list(&["--peer", "127.0.0.1", "--reason", "no-route"]).0, 1);
    assert_eq!(list(&["--peer", "203.0.113.9"]).0, 1);
    assert_eq!(list(&["--peer", "nonsense"]).0, 2);
    let unknown = pair.client.ask(&["explain", "--reason", "unknown-hosts"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("unknown-host'"), "{}", unknown.stderr);
    let decisions = |query: &str| {
        let told = pair.client.admin("GET", &format!("/decisions?{query}"));
        let told: Vec<Value> = serde_json::from_str(&told).expect("a list of records");
        told.iter().filter_map(|record| record["id"].as_u64()).collect::<Vec<u64>>()
    };
    assert_eq!(connection.get("nobody.example", "/c").status, 404);
    let all = decisions("");
    assert_eq!(all.len(), 2, "oldest first: {all:?}");
    assert!(all[0] < all[1]);
    assert_eq!(decisions(&format!("since={}", all[0])), all[1..]);
    assert_eq!(decisions("last=1&reason=unknown-host"), all[1..]);
}

fn a_record_holds_what_it_was_decided_by_and_no_header(run: Run) {
    let pair =
        Pair::with(run).yaml("nobody.yaml", allow("nobody", "to: [{operation: {paths: [/no]}}]")).start();
    let secrets =
        [("authorization", "Bearer s3cret"), ("cookie", "id=s3cret"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(pair.http().request("GET", HOST, "/?token=s3cret", &secrets, b"").status, 403);
    let record = pair.server.refusal("not-allowed-by-policy");
    assert_eq!(record["listener"], format!("{}_18080", pair.subnet.ip(2)), "{record:#}");
    let protocols = json!(["istio-http/1.1", "istio", "http/1.1"]);
    assert_eq!(record["sniffed"], json!({"transport": "tls", "protocols": protocols}), "{record:#}");
    let mut request = asked("GET", HOST, "/");
    request["remote_ip"] = "203.0.113.9".into();
    assert_eq!(record["request"], request, "{record:#}");
    assert_eq!(record["policies"], json!([record["origin"]]), "{record:#}");
    assert_eq!(record["origin"]["label"], origin("", "default/nobody", "")["label"], "{record:#}");
    let text = pair.server.ask(&["explain", "last"]).stdout;
    assert!(!text.contains("s3cret"), "{text}");
}

fn a_malformed_head_is_in_the_access_log(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    connection.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(connection.reply_to("GET").status, 400);
    let entry = pair.client.logged("the refusal", |entry| entry["reason"] == "malformed-request");
    assert_eq!(
        (&entry["response_code"], &entry["response_flags"]),
        (&json!(400), &json!("DPE")),
        "{entry:#}"
    );
    assert_eq!(entry["method"], Value::Null, "{entry:#}");
}
