//! The examples in configs/ start as they are, on addresses of the test's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use sidering_tests::{Answer, Connection, Origin, Sidecar, Subnet, binary, run};
use tempfile::TempDir;

/// A copy of an example in which `net` is replaced by the test's own network.
fn copy(example: &str, net: &str, subnet: Subnet) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(example);
    let own = subnet.ip(0).to_string();
    copy_tree(&from, directory.path(), &|text| text.replace(net, own.trim_end_matches('0')));
    directory
}

fn copy_tree(from: &Path, to: &Path, adapt: &impl Fn(String) -> String) {
    fs::create_dir_all(to).expect("the test's directory takes directories");
    for entry in fs::read_dir(from).expect("the example is there") {
        let (from, to) =
            entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("it can be listed");
        if from.is_dir() {
            copy_tree(&from, &to, adapt);
        } else {
            let text = fs::read_to_string(&from).expect("examples are text");
            fs::write(to, adapt(text)).expect("the test's directory takes files");
        }
    }
}

#[track_caller]
fn sidering(directory: &Path, arguments: &[&str]) -> String {
    run(Command::new(binary()).current_dir(directory).args(arguments), b"").ok()
}

#[test]
fn the_pair_does_what_its_readme_says() {
    let subnet = Subnet::new();
    let directory = copy("pair", "127.78.0.", subnet);
    let at = directory.path();
    sidering(at, &["ca", "init", "--directory", "ca"]);
    let _origin = Origin::bind(subnet.address(2, 9080), |_| Answer::ok("hello"));
    let start = |name: &str| {
        let (config, socket) = (at.join(format!("{name}.yaml")), at.join(format!("{name}.sock")));
        Sidecar::start_file(&config, name, &socket, subnet.address(1, 15020))
    };
    let (_server, _client) = (start("server"), start("client"));
    let mut connection = Connection::to(subnet.address(1, 8080));
    assert_eq!(connection.get("server.default", "/").text(), "hello");
    assert_eq!(connection.request("POST", "server.default", "/", &[], b"x").status, 403);
    Connection::to(subnet.address(2, 8080)).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
    let told = sidering(at, &["explain", "last", "--config", "server.yaml"]);
    assert!(told.contains("plaintext-to-strict") && told.contains("mesh/security.yaml:"), "{told}");
}

#[test]
fn the_reference_starts() {
    let subnet = Subnet::new();
    let directory = copy("reference", "127.78.1.", subnet);
    let at = directory.path();
    sidering(at, &["ca", "init", "--directory", "ca"]);
    let leaf = ["--namespace", "shop", "--service-account", "orders", "--out", "orders"];
    sidering(at, &[&["ca", "issue", "--directory", "ca"], &leaf[..]].concat());
    let config = at.join("sidering.yaml");
    let sidecar = Sidecar::start_file(&config, "orders", &at.join("admin.sock"), subnet.address(2, 15020));
    assert_eq!(Connection::to(subnet.address(2, 15021)).get("localhost", "/healthz/ready").status, 200);
    assert!(sidecar.metric("sidering_snapshot_version", &[]) >= 1.0);
    assert_eq!(sidecar.terminate().code(), Some(0));
}
