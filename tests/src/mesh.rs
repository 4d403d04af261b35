//! A directory of Istio YAML. `NET` in a text stands for the test's own `127.a.b`, so that `NET.2` is an address.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Subnet;

/// The directory that sidecars watch.
pub struct Mesh {
    directory: PathBuf,
    net: String,
}

impl Mesh {
    /// `DIRECTORY/mesh`, made if need be.
    pub fn new(directory: &Path, subnet: Subnet) -> Self {
        let directory = directory.join("mesh");
        fs::create_dir_all(&directory).expect("the test's directory takes directories");
        let net = subnet.ip(0).to_string();
        let net = net.strip_suffix(".0").expect("host 0 ends so");
        Self { directory, net: net.to_owned() }
    }

    /// Where a file of it lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file of resources, over what was there.
    pub fn write(&self, file: &str, yaml: &str) {
        fs::write(self.path(file), yaml.replace("NET", &self.net)).expect("the test's directory takes files");
    }

    /// Removes a file of resources.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).expect("the file is there");
    }
}

/// A PeerAuthentication of the namespace, or with `istio-system` of the mesh.
pub fn peer_authentication(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: default, namespace: {namespace}}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
}

/// An AuthorizationPolicy of namespace `default` for `app: server`; `rules` is a flow list.
pub fn allow(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  selector: {{matchLabels: {{app: server}}}}\n  action: ALLOW\n  rules:\n  - {rules}\n"
    )
}

/// A VirtualService `http` list for the pair's service; `routes` is block YAML indented by two.
pub fn virtual_service(routes: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: server, namespace: default}}\n\
         spec:\n  hosts: [server.default.svc.cluster.local]\n  http:\n{routes}"
    )
}

/// A DestinationRule for the pair's service; `rest` is block YAML indented by two.
pub fn destination_rule(rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: server, namespace: default}}\n\
         spec:\n  host: server.default.svc.cluster.local\n{rest}"
    )
}
