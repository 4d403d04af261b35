//! Edges of the crate graph: the table of docs/architecture.md, and third-party crates that a layer must not touch.
//! Normal and build dependencies count; what only tests use may point anywhere.

use serde_json::Value;

/// What each of our crates may use of ours.
const LAYERS: &[(&str, &[&str])] = &[
    ("identity", &[]),
    ("policy", &["identity"]),
    ("istio", &["policy", "identity"]),
    ("net", &[]),
    ("tls", &["net", "identity"]),
    ("http", &["net"]),
    ("proxy", &["policy", "identity", "net", "tls", "http"]),
    ("control", &["istio", "policy", "identity"]),
    ("sidering", &["identity", "policy", "istio", "net", "tls", "http", "proxy", "control"]),
];

const ASYNC: &[&str] =
    &["async-trait", "futures", "futures-util", "mio", "monoio", "smol", "tokio", "tokio-util"];
const TLS: &[&str] =
    &["aws-lc-rs", "boring", "boring-sys", "openssl", "ring", "rustls", "rustls-webpki", "tokio-rustls"];
const SOCKETS: &[&str] = &["io-uring", "libc", "monoio", "nix", "rustix", "socket2"];
const HTTP: &[&str] = &["axum", "h2", "http", "httparse", "hyper", "hyper-util"];
const FORMATS: &[&str] = &["prost", "saphyr", "saphyr-parser", "serde-saphyr", "serde_yaml"];
const AMBIENT: &[&str] = &["getrandom", "notify", "rand", "tempfile", "time"];

/// Third-party crates that a layer must not touch, with the reason.
const FORBIDDEN: &[(&str, &[&[&str]], &str)] = &[
    (
        "identity",
        &[ASYNC, TLS, SOCKETS, HTTP, FORMATS, AMBIENT],
        "identity is pure: no I/O, no async, no TLS library",
    ),
    (
        "policy",
        &[ASYNC, TLS, SOCKETS, HTTP, FORMATS, AMBIENT],
        "policy is pure: no I/O, async, YAML, clocks or chance",
    ),
    ("istio", &[ASYNC, TLS, SOCKETS, HTTP], "istio parses and compiles: no sockets, no async"),
    ("net", &[TLS, HTTP, FORMATS], "net knows nothing above it"),
    ("tls", &[HTTP, FORMATS], "tls knows handshakes and records"),
    ("http", &[TLS, FORMATS], "http knows neither policy nor TLS"),
    ("proxy", &[TLS, FORMATS], "proxy speaks TLS through sidering-tls and reads no configuration format"),
    ("control", &[TLS, SOCKETS, HTTP], "control brings configuration: it neither serves nor handshakes"),
];

/// The crates where a tokio runtime may live.
const RUNTIMES: &[&str] = &["control", "sidering"];

/// Everything in the workspace's graph that breaks a rule; each line names the edge and the rule.
pub(crate) fn violations(metadata: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = layer(text(&package["name"]));
        // The end-to-end tests stand outside the layers.
        if name == "tests" {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            found.push(format!("{name}: not in the table of layers; say what it may use"));
            continue;
        };
        for dependency in list(&package["dependencies"]).iter().filter(|edge| edge["kind"] != "dev") {
            found.extend(
                violation(name, allowed, dependency)
                    .map(|rule| format!("{name} -> {}: {rule}", text(&dependency["name"]))),
            );
        }
    }
    found
}

fn violation(name: &str, allowed: &[&str], dependency: &Value) -> Option<String> {
    let to = text(&dependency["name"]);
    if dependency["path"].is_string() {
        if !allowed.contains(&layer(to)) {
            return Some(format!(
                "{name} may use only [{}] of ours; arrows point down only",
                allowed.join(", ")
            ));
        }
        if to == "sidering-tls" && dependency["uses_default_features"] != false {
            return Some("default-features = false, since the binary alone chooses TLS backends".into());
        }
    }
    if to == "tokio" && !RUNTIMES.contains(&name) {
        let of_a_runtime = |feature: &&str| matches!(*feature, "rt" | "rt-multi-thread" | "net" | "full");
        if let Some(feature) = list(&dependency["features"]).iter().map(text).find(of_a_runtime) {
            return Some(format!("tokio's feature {feature} belongs to {} only", RUNTIMES.join(" and ")));
        }
    }
    let (_, lists, reason) = FORBIDDEN.iter().find(|(layer, ..)| *layer == name)?;
    lists.iter().any(|list| list.contains(&to)).then(|| (*reason).to_owned())
}

fn layer(package: &str) -> &str {
    package.strip_prefix("sidering-").unwrap_or(package)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::violations;
    use crate::metadata;

    /// The real graph with one more dependency.
    fn with(package: &str, dependency: Value) -> Vec<String> {
        let mut metadata = metadata();
        let packages = metadata["packages"].as_array_mut().unwrap();
        let package = packages.iter_mut().find(|p| p["name"] == package).unwrap();
        package["dependencies"].as_array_mut().unwrap().push(dependency);
        violations(&metadata)
    }

    #[test]
    fn a_forbidden_edge_is_named_with_its_rule() {
        let up = json!({"name": "sidering-net", "path": "crates/net", "kind": null, "features": []});
        assert_eq!(
            with("sidering-policy", up),
            ["policy -> sidering-net: policy may use only [identity] of ours; arrows point down only"]
        );
    }

    #[test]
    fn a_test_may_use_anything() {
        let up = json!({"name": "sidering-net", "path": "crates/net", "kind": "dev", "features": []});
        assert_eq!(with("sidering-policy", up), Vec::<String>::new());
    }

    #[test]
    fn a_runtime_outside_control_and_the_binary_is_named() {
        let runtime = json!({"name": "tokio", "kind": null, "features": ["io-util", "rt"]});
        assert_eq!(
            with("sidering-http", runtime),
            ["http -> tokio: tokio's feature rt belongs to control and sidering only"]
        );
    }

    #[test]
    fn a_forbidden_library_is_named_with_its_reason() {
        let clock = json!({"name": "time", "kind": null, "features": []});
        assert_eq!(
            with("sidering-policy", clock),
            ["policy -> time: policy is pure: no I/O, async, YAML, clocks or chance"]
        );
    }

    #[test]
    fn a_backend_by_default_is_named() {
        let tls = json!({"name": "sidering-tls", "path": "crates/tls", "kind": null, "features": [],
            "uses_default_features": true});
        assert_eq!(
            with("sidering-proxy", tls),
            ["proxy -> sidering-tls: default-features = false, since the binary alone chooses TLS backends"]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_named() {
        let metadata = json!({"packages": [{"name": "sidering-misc", "dependencies": []}]});
        assert_eq!(violations(&metadata), ["misc: not in the table of layers; say what it may use"]);
    }
}
