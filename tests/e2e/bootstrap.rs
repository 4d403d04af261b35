//! Bad input at the start: one clear line that names the place and what to write instead, exit code 2, nothing left
//! running.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sidering_tests::{Bootstrap, Finished, Leaf, Mesh, Pki, Sidecar, Subnet, rustls_epoll};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
    mesh: Mesh,
    pki: Pki,
    bootstrap: Bootstrap,
}

/// A bootstrap with nothing wrong in it.
fn sound() -> Place {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let subnet = Subnet::new();
    let mesh = Mesh::new(directory.path(), subnet);
    mesh.write("sidecar.yaml", INGRESS);
    let pki = Pki::new(directory.path(), "ca");
    let files = pki.issue("server", &Leaf::workload("default", "server"));
    let bootstrap = Bootstrap::new(rustls_epoll(), directory.path(), "server", subnet.ip(2), &files);
    Place { directory, mesh, pki, bootstrap }
}

impl Place {
    /// Starts it from a changed bootstrap file.
    #[track_caller]
    fn refused_with(&self, from: &str, to: &str) -> Finished {
        let path = self.bootstrap.write();
        let yaml = self.bootstrap.yaml();
        assert!(yaml.contains(from), "{yaml}");
        fs::write(&path, yaml.replace(from, to)).expect("the test's directory takes files");
        Sidecar::refused_file(&path)
    }
}

#[track_caller]
fn says(told: &Finished, code: i32, texts: &[&str]) {
    assert_eq!(told.code, code, "{told:#?}");
    for text in texts {
        assert!(told.stderr.contains(text), "{text:?} is not in:\n{}", told.stderr);
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_known_ones() {
    let told = sound().refused_with("tls: {backend: rustls}", "tls: {backent: rustls}");
    says(&told, 2, &["server.yaml:10:", "backent", "backend"]);
}

#[test]
fn a_missing_key_is_named() {
    says(&sound().refused_with("  serviceAccount: server\n", ""), 2, &["server.yaml:", "serviceAccount"]);
}

#[test]
fn broken_yaml_names_its_place() {
    says(&sound().refused_with("runtime: {", "runtime: [{"), 2, &["server.yaml:1"]);
}

#[test]
fn an_unknown_backend_lists_those_compiled_in() {
    let told = sound().refused_with("backend: rustls", "backend: openssl");
    says(&told, 2, &["openssl", "rustls", "boring"]);
}

#[test]
fn an_unknown_driver_lists_the_known_ones() {
    says(&sound().refused_with("driver: epoll", "driver: kqueue"), 2, &["kqueue", "io_uring", "epoll"]);
}

#[test]
fn a_bootstrap_that_is_not_there_is_named() {
    let told = Sidecar::refused_file("/nowhere/sidering.yaml".as_ref());
    says(&told, 2, &["/nowhere/sidering.yaml"]);
}

#[test]
fn a_bad_resource_names_its_line_and_what_to_write() {
    let place = sound();
    place.mesh.write("policy.yaml", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: default}\nspec:\n  mtls:\n    mode: STRIKT\n");
    says(&Sidecar::refused(&place.bootstrap), 2, &["mesh/policy.yaml:6:11", "STRIKT", "STRICT"]);
}

#[test]
fn broken_yaml_in_a_resource_names_its_line() {
    let place = sound();
    place.mesh.write(
        "policy.yaml",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec: {mtls: [}\n",
    );
    says(&Sidecar::refused(&place.bootstrap), 2, &["mesh/policy.yaml:3:"]);
}

#[test]
fn an_unknown_field_of_a_security_resource_is_an_error() {
    let place = sound();
    place.mesh.write("policy.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: default}\nspec:\n  rules:\n  - form: []\n");
    says(&Sidecar::refused(&place.bootstrap), 2, &["mesh/policy.yaml:6:", "form"]);
}

#[test]
fn a_missing_resource_directory_is_an_error() {
    let place = sound();
    fs::remove_dir_all(place.mesh.directory()).expect("it is there");
    says(&Sidecar::refused(&place.bootstrap), 2, &["mesh"]);
}

#[test]
fn a_missing_certificate_is_named() {
    let place = sound();
    fs::remove_file(&place.bootstrap.identity.certificate).expect("it is there");
    says(&Sidecar::refused(&place.bootstrap), 2, &["server.crt"]);
}

#[test]
fn an_unreadable_certificate_is_named() {
    let place = sound();
    fs::write(&place.bootstrap.identity.certificate, "no PEM at all").expect("it is there");
    says(&Sidecar::refused(&place.bootstrap), 2, &["server.crt"]);
    let key = &place.bootstrap.identity.key;
    fs::set_permissions(key, fs::Permissions::from_mode(0o000)).expect("it is ours");
    // Root reads everything: then the certificate is still what is wrong.
    assert_eq!(Sidecar::refused(&place.bootstrap).code, 2);
}

#[test]
fn a_key_that_does_not_fit_names_both_files() {
    let place = sound();
    let (_, key, _) = place.pki.sign("server", &Leaf::workload("default", "server"));
    fs::write(&place.bootstrap.identity.key, key).expect("it is there");
    says(&Sidecar::refused(&place.bootstrap), 2, &["server.key", "server.crt"]);
}

#[test]
fn a_port_in_use_is_named() {
    let place = sound();
    let address = (place.bootstrap.address, 18080);
    let _holder = std::net::TcpListener::bind(address).expect("nobody has it yet");
    says(&Sidecar::refused(&place.bootstrap), 2, &["18080", "in use"]);
}

#[test]
fn a_port_that_another_sidecar_holds_is_in_use() {
    let place = sound();
    let _first = Sidecar::start(&place.bootstrap);
    let mut second = place.bootstrap.clone();
    second.name = "second".into();
    second.resources = vec![place.directory.path().join("mesh")];
    let path = second.write();
    let yaml = second.yaml().replace("app: second", "app: server").replace(":15020", ":15021");
    fs::write(&path, yaml).expect("the test's directory takes files");
    says(&Sidecar::refused_file(&path), 2, &["18080", "in use"]);
}

const INGRESS: &str = "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: server, namespace: default}
spec:
  ingress:
  - {bind: NET.2, port: {number: 18080, protocol: HTTP, name: http}, captureMode: NONE, defaultEndpoint: '127.0.0.1:9'}
";
