//! VirtualService, subsets, host aliases, and hosts with nothing behind them.

use serde_json::{Value, json};
use sidering_tests::{
    Answer, Connection, HOST, Origin, Pair, Run, asked, destination_rule, on_both_drivers, origin,
    virtual_service,
};

on_both_drivers!(
    a_header_leads_to_the_other_version,
    weights_split_traffic,
    uri_matches_are_exact_prefix_or_regex,
    a_direct_response_needs_no_upstream,
    no_route_is_404,
    an_undefined_subset_is_503,
    every_alias_of_the_service_is_known,
    an_unknown_host_is_refused,
    an_unknown_host_under_registry_only_is_502,
    an_upstream_that_is_down_is_503,
    a_service_without_endpoints_is_503,
);

const CLUSTER: &str = "outbound|8080||server.default.svc.cluster.local";

/// A second version at NET.3 without a sidecar, and the subsets of both.
fn two_versions(run: Run, routes: &str) -> (Pair, Origin) {
    let setup =
        Pair::with(run).yaml("service.yaml", TWO_VERSIONS).yaml("routes.yaml", virtual_service(routes)).yaml(
            "subsets.yaml",
            destination_rule(
                "  subsets:\n  - {name: v1, labels: {version: v1}}\n  - {name: v2, labels: {version: v2}}\n",
            ),
        );
    let pair = setup.start();
    let second = Origin::bind(pair.subnet.address(3, 18080), |_| Answer::ok("this is v2\n"));
    (pair, second)
}

fn a_header_leads_to_the_other_version(run: Run) {
    let (pair, _second) = two_versions(
        run,
        "  - match: [{headers: {x-tenant: {exact: blue}}}]\n    route: [{destination: {host: server, subset: v2}}]\n  \
         - route: [{destination: {host: server, subset: v1}}]\n",
    );
    for _ in 0..4 {
        assert_eq!(pair.get("/").text(), "this is server\n");
        let blue = pair.http().request("GET", HOST, "/", &[("X-Tenant", "blue")], b"");
        assert_eq!(blue.text(), "this is v2\n");
        let red = pair.http().request("GET", HOST, "/", &[("X-Tenant", "blueish")], b"");
        assert_eq!(red.text(), "this is server\n");
    }
}

fn weights_split_traffic(run: Run) {
    let (pair, second) = two_versions(
        run,
        "  - route:\n    - {destination: {host: server, subset: v1}, weight: 75}\n    \
         - {destination: {host: server, subset: v2}, weight: 25}\n",
    );
    let mut connection = pair.http();
    for _ in 0..400 {
        assert_eq!(connection.get(HOST, "/").status, 200);
    }
    // Sixteen standard deviations would be 139.
    let second = second.seen().len();
    assert!((40..=190).contains(&second), "{second} of 400 for a quarter");
}

fn uri_matches_are_exact_prefix_or_regex(run: Run) {
    let reply = |status: u16| format!("directResponse: {{status: {status}}}");
    let routes = format!(
        "  - match: [{{uri: {{exact: /a}}}}]\n    {}\n  - match: [{{uri: {{prefix: /b/}}}}]\n    {}\n  \
         - match: [{{uri: {{regex: '/c[0-9]+'}}, method: {{exact: PUT}}}}]\n    {}\n  - {}\n",
        reply(201),
        reply(202),
        reply(203),
        reply(418)
    );
    let pair = Pair::with(run).yaml("routes.yaml", virtual_service(&routes)).start();
    let mut connection = pair.http();
    for (method, path, status) in [
        ("GET", "/a", 201),
        ("GET", "/a?x", 201),
        ("GET", "/ab", 418),
        ("GET", "/b/c", 202),
        ("GET", "/b", 418),
        ("PUT", "/c12", 203),
        ("GET", "/c12", 418),
        ("PUT", "/c12x", 418),
    ] {
        assert_eq!(connection.request(method, HOST, path, &[], b"").status, status, "{method} {path}");
    }
}

fn a_direct_response_needs_no_upstream(run: Run) {
    let routes = "  - directResponse: {status: 418, body: {string: 'short and stout'}}\n";
    let pair = Pair::with(run).yaml("routes.yaml", virtual_service(routes)).start();
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (418, "short and stout"));
    assert_eq!(pair.origin.seen(), []);
}

fn no_route_is_404(run: Run) {
    let routes = "  - match: [{uri: {prefix: /api/}}]\n    route: [{destination: {host: server}}]\n";
    let pair = Pair::with(run).yaml("routes.yaml", virtual_service(routes)).start();
    assert_eq!(pair.get("/api/x").status, 200);
    let mut connection = pair.http();
    assert_eq!(connection.get(HOST, "/else").status, 404);
    let by = origin("VirtualService", "default/server", "routes.yaml:1:1");
    pair.client.on_record("no-route", unrouted(&connection, HOST, "/else", by));
}

/// On record at the client: nobody was found for a request.
fn unrouted(connection: &Connection, host: &str, path: &str, by: Value) -> Value {
    connection.record(
        "outbound",
        "route",
        json!({"request": asked("GET", host, path), "origin": by, "detail": "*"}),
    )
}

fn an_undefined_subset_is_503(run: Run) {
    let routes = "  - route: [{destination: {host: server, subset: v9}}]\n";
    let pair = Pair::with(run).yaml("routes.yaml", virtual_service(routes)).start();
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: no-cluster"));
    let by = origin("VirtualService", "default/server[0]", "routes.yaml:7:5");
    pair.client.on_record("no-cluster", unrouted(&connection, HOST, "/", by));
}

fn every_alias_of_the_service_is_known(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    for alias in [
        "server",
        "server.default",
        "server.default.svc",
        "server.default.svc.cluster.local",
        "server.default.svc.cluster.local.",
        "server:8080",
        "server.default.svc.cluster.local:1",
        "SERVER.default.svc",
    ] {
        assert_eq!(connection.get(alias, "/").status, 200, "{alias}");
    }
}

fn an_unknown_host_is_refused(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    assert_eq!(connection.get("nobody.example", "/").status, 404);
    let by = origin("Sidecar", "default/client", "sidecars.yaml:7:5");
    pair.client.on_record("unknown-host", unrouted(&connection, "nobody.example", "/", by));
    assert_eq!(pair.origin.seen(), []);
}

fn an_unknown_host_under_registry_only_is_502(run: Run) {
    let config = "{trustDomain: cluster.local, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}";
    let pair = Pair::with(run).mesh_config(config).start();
    let mut connection = pair.http();
    assert_eq!(connection.get("nobody.example", "/").status, 502);
    let by = origin("Sidecar", "default/client", "sidecars.yaml:7:5");
    pair.client.on_record("host-not-registered", unrouted(&connection, "nobody.example", "/", by));
    assert_eq!(pair.get("/").status, 200);
}

fn an_upstream_that_is_down_is_503(run: Run) {
    let pair = Pair::with(run)
        .yaml("rule.yaml", destination_rule("  trafficPolicy: {tls: {mode: DISABLE}}\n"))
        .start();
    let nowhere = format!("{DOWN}  endpoints: [{{address: NET.77}}]\n");
    pair.reload(|mesh| mesh.write("service.yaml", &nowhere));
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: connect-refused"));
    let rest = json!({
        "request": asked("GET", HOST, "/"),
        "cluster": CLUSTER,
        "upstream": pair.subnet.address(77, 18080),
        "origin": origin("ServiceEntry", "default/server", "service.yaml:10:15"),
        "detail": "connection refused",
    });
    pair.client.on_record("connect-refused", connection.record("outbound", "connect", rest));
}

fn a_service_without_endpoints_is_503(run: Run) {
    let pair = Pair::start(run);
    pair.reload(|mesh| mesh.write("service.yaml", DOWN));
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: no-endpoint"));
    let by = origin("ServiceEntry", "default/server", "service.yaml:9:5");
    let mut expected = unrouted(&connection, HOST, "/", by);
    expected["cluster"] = CLUSTER.into();
    pair.client.on_record("no-endpoint", expected);
}

const TWO_VERSIONS: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: server, namespace: default}
spec:
  hosts: [server.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {number: 8080, targetPort: 18080, protocol: HTTP, name: http}
  endpoints:
  - {address: NET.2, serviceAccount: server, labels: {app: server, version: v1}}
  - {address: NET.3, labels: {app: server, version: v2}}
";

const DOWN: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: server, namespace: default}
spec:
  hosts: [server.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {number: 8080, targetPort: 18080, protocol: HTTP, name: http}
";
