use std::collections::BTreeSet;

use super::*;

const DOCUMENTED: &str = include_str!("../../../../docs/configuration.md");

/// The least that is accepted, and one more line.
fn with(line: &str) -> String {
    format!(
        "workload: {{name: orders-1, namespace: shop, serviceAccount: orders}}\n\
         identity: {{files: {{certificate: a.pem, privateKey: b.key, trustBundle: /c.pem}}}}\n{line}\n"
    )
}

fn parse(text: &str) -> Result<Bootstrap, String> {
    Bootstrap::parse(Path::new("etc/sidering.yaml"), text)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text).map(|_| ()).expect_err(text);
    assert_eq!(error, format!("etc/sidering.yaml:{expected}"));
}

#[test]
fn the_documented_example_is_accepted() {
    let example = DOCUMENTED.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let bootstrap = parse(example).map_err(|error| panic!("{error}")).unwrap();
    assert_eq!(bootstrap.id.as_str(), "spiffe://cluster.local/ns/shop/sa/orders");
    assert_eq!(bootstrap.resources.paths, [Path::new("etc/mesh/")]);
    assert_eq!(bootstrap.admin.socket.unwrap().0, Path::new("/run/sidering/admin.sock"));
    assert_eq!(bootstrap.drain_time, Duration::from_secs(5));
}

#[test]
fn what_is_left_out_has_a_default() {
    let bootstrap =
        parse(&with("admin: {address: \"127.0.0.1:15000\"}")).map_err(|error| panic!("{error}")).unwrap();
    assert_eq!((bootstrap.workers, bootstrap.pin), (1, Pin::Auto));
    assert_eq!(bootstrap.driver, DriverChoice::Auto);
    assert!(bootstrap.access_log.is_none() && bootstrap.admin.socket.is_none());
    assert_eq!(bootstrap.drain_time, Duration::from_secs(5));
}

#[test]
fn pinning_is_a_word_a_switch_or_a_list() {
    for (written, meant) in
        [("auto", Pin::Auto), ("true", Pin::Yes), ("false", Pin::No), ("[0, 2]", Pin::Cpus(vec![0, 2]))]
    {
        let bootstrap =
            parse(&with(&format!("runtime: {{pin: {written}}}"))).map_err(|error| panic!("{error}"));
        assert_eq!(bootstrap.unwrap().pin, meant, "{written}");
    }
}

#[test]
fn every_error_has_a_line_a_column_and_advice() {
    refused(&with("tls: {backed: rustls}"), "3:7: unknown field `backed`, expected one of backend");
    refused(
        &with("runtime: {driver: kqueue}"),
        "3:19: unknown driver \"kqueue\": write auto, io_uring or epoll",
    );
    refused(
        &with("runtime: {workers: 0}"),
        "3:20: \"0\" workers: write a number from 1, one for each core to use",
    );
    refused(&with("runtime: {pin: maybe}"), "3:16: pin wants auto, true, false, or a list of CPU numbers");
    refused(
        &with("stats: {address: \":15020\"}"),
        "3:18: \":15020\" is no address; write IP:PORT, such as 127.0.0.1:15020",
    );
    refused(
        &with("admin: {address: 0.0.0.0:15000}"),
        "3:18: 0.0.0.0:15000 is reachable from other machines; use a loopback address, such as 127.0.0.1:15000",
    );
    refused(
        &with("terminationDrainDuration: 5"),
        "3:27: \"5\" is no duration; write it like 300ms, 5s, 10m or 1h30m",
    );
    refused(
        &with("accessLog: {path: a, format: xml}"),
        "3:30: unknown variant `xml`, expected one of istio, json",
    );
    refused(&with("accessLog: {format: json}"), "3:13: missing field `path`");
    refused(&with("listeners: 3"), "3:12: expected a mapping, such as `{key: value}`");
    refused(&with("resources: mesh"), "3:12: expected a list, such as `[one, another]`");
    refused(&with("workload: {}"), "3:1: duplicate mapping key `workload` is not allowed here");
    refused(&with("tls:\n\t- a"), "4:2: tabs disallowed within this context (block indentation)");
    refused("", "1:1: unexpected end of file");
}

#[test]
fn a_backend_that_is_not_compiled_in_is_an_error_that_lists_those_that_are() {
    let error = parse(&with("tls: {backend: schannel}")).map(|_| ()).unwrap_err();
    assert!(
        error.starts_with("etc/sidering.yaml:3:16: TLS backend \"schannel\" is not compiled in"),
        "{error}"
    );
    for backend in Backend::compiled() {
        assert!(error.contains(&backend.to_string()), "{error}");
    }
}

#[test]
fn identity_is_exactly_one_source() {
    let workload = "workload: {name: a, namespace: b, serviceAccount: c}\n";
    let none = format!("{workload}identity: {{}}\n");
    refused(&none, "2:11: identity wants exactly one source: `files` or `embeddedCa`");
    let files = "files: {certificate: a, privateKey: b, trustBundle: c}";
    let both = format!("{workload}identity: {{{files}, embeddedCa: {{directory: ca}}}}\n");
    refused(&both, "2:11: identity wants exactly one source: `files` or `embeddedCa`");
}

#[test]
fn names_that_make_no_spiffe_id_are_an_error() {
    for namespace in ["sh op", "shop/sa/admin"] {
        let text = with("").replace("namespace: shop", &format!("namespace: {namespace}"));
        let error = parse(&text).map(|_| ()).unwrap_err();
        assert!(
            error.starts_with("etc/sidering.yaml:1:39: namespace and serviceAccount make no SPIFFE id"),
            "{error}"
        );
    }
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let mut keys = BTreeSet::new();
    add_keys("", &mut keys);
    let rows = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    assert_eq!(keys, documented);
}

/// Asks the parser itself: what it expects instead of a key that exists nowhere.
fn add_keys(below: &str, keys: &mut BTreeSet<String>) {
    let nested = below.split('.').filter(|part| !part.is_empty());
    let text = nested.clone().map(|part| format!("{{{part}: ")).collect::<String>()
        + "{nowhere: 1}"
        + &"}".repeat(nested.count());
    let Err(error) = serde_saphyr::from_str::<raw::Bootstrap>(&text) else { return };
    let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
    let Some((_, expected)) = message.split_once("unknown field `nowhere`, expected one of ") else { return };
    for field in expected.split(", ") {
        let key = if below.is_empty() { field.to_owned() } else { format!("{below}.{field}") };
        add_keys(&key, keys);
        keys.insert(key);
    }
}
