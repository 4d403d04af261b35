//! Two sidecars and what they stand beside: the client's at NET.1 listens for the application on 8080 (HTTP) and 9090
//! (TCP), the server's at NET.2 on 18080 and 19090, and the origins behind it on ports of their own. Both read
//! the same directory of YAML, as in a mesh. Envoy can take the place of either.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;

use tempfile::TempDir;

use crate::{
    Bootstrap, Connection, EnvoyPeer, Files, Inbound, Leaf, Mesh, Origin, PATIENCE, Pki, Reply, Run, Sidecar,
    Subnet, TcpOrigin, Way, openssl,
};

/// The service that the pair carries.
pub const HOST: &str = "server.default.svc.cluster.local";

/// Both sidecars, ready.
pub struct Pair<Client = Sidecar, Server = Sidecar> {
    /// Beside the client.
    pub client: Client,
    /// Beside the server.
    pub server: Server,
    /// The HTTP application.
    pub origin: Origin,
    /// The TCP application.
    pub tcp_origin: TcpOrigin,
    /// The YAML that both watch.
    pub mesh: Mesh,
    /// Their authority.
    pub pki: Pki,
    /// The client's files.
    pub client_files: Files,
    /// The server's files.
    pub server_files: Files,
    /// Their addresses.
    pub subnet: Subnet,
    directory: TempDir,
}

/// A pair in the making.
pub struct PairSetup {
    run: Run,
    origin: Origin,
    tcp_origin: TcpOrigin,
    files: Vec<(String, String)>,
    client_leaf: Leaf,
    server_leaf: Leaf,
    client_authority: bool,
    server_authority: bool,
    mesh_config: Option<String>,
}

/// What the sidecar of one side starts from.
struct Side<'a> {
    setup: &'a PairSetup,
    directory: &'a Path,
    subnet: Subnet,
    address: IpAddr,
    files: &'a Files,
}

impl Pair {
    /// With nothing but the service: PERMISSIVE, auto mTLS, everybody allowed.
    pub fn start(run: Run) -> Self {
        Self::with(run).start()
    }

    /// To say more before it starts.
    pub fn with(run: Run) -> PairSetup {
        PairSetup {
            run,
            origin: Origin::named("server"),
            tcp_origin: TcpOrigin::echo(),
            files: Vec::new(),
            client_leaf: Leaf::workload("default", "client"),
            server_leaf: Leaf::workload("default", "server"),
            client_authority: false,
            server_authority: false,
            mesh_config: None,
        }
    }

    /// Changes YAML, then waits until both have acknowledged a newer snapshot.
    #[track_caller]
    pub fn reload(&self, change: impl FnOnce(&Mesh)) {
        self.client.reload(|| self.server.reload(|| change(&self.mesh)));
    }

    /// Moves the service's endpoint to another address, at which it is expected to be the same.
    pub fn move_endpoint(&self, address: &str) {
        let service = fs::read_to_string(self.mesh.path("service.yaml")).expect("the pair wrote it");
        let own = format!("address: {}", self.subnet.ip(2));
        self.reload(|mesh| {
            mesh.write("service.yaml", &service.replace(&own, &format!("address: {address}")))
        });
    }

    /// Another application behind the server's HTTP port, at an address or a socket's path.
    #[track_caller]
    pub fn put_behind(&self, application: impl fmt::Display) {
        let sidecars = self.mesh.path("sidecars.yaml");
        let before = fs::read_to_string(&sidecars).expect("the pair wrote it");
        let behind = before.replacen(&self.origin.address().to_string(), &application.to_string(), 1);
        self.server.reload(|| self.mesh.write("sidecars.yaml", &behind));
    }

    /// A bare TCP connection with timeouts.
    pub fn dial(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a sidecar listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }
}

impl<Client, Server> Pair<Client, Server> {
    /// A connection from the client's application for HTTP.
    pub fn http(&self) -> Connection {
        Connection::to(self.subnet.address(1, 8080))
    }

    /// `GET PATH` of the service on a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        self.http().get(HOST, path)
    }

    /// A connection from the client's application for TCP.
    pub fn tcp(&self) -> Connection {
        Connection::to(self.subnet.address(1, 9090))
    }

    /// The server sidecar's HTTP port: mTLS.
    pub fn server_http(&self) -> SocketAddr {
        self.subnet.address(2, 18080)
    }

    /// The server sidecar's TCP port: mTLS.
    pub fn server_tcp(&self) -> SocketAddr {
        self.subnet.address(2, 19090)
    }

    /// What a server's sidecar says of the client's certificate in x-forwarded-client-cert; openssl tells its digest.
    pub fn xfcc(&self) -> String {
        let certificate = fs::read(&self.client_files.certificate).expect("the client's file is there");
        let told = openssl(&["x509", "-noout", "-fingerprint", "-sha256"], &certificate).ok();
        let digest = told.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
        let id = "spiffe://cluster.local/ns/default/sa";
        format!("By={id}/server;Hash={digest};Subject=\"CN=client\";URI={id}/client")
    }

    /// Where the test's files lie.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl<Server> Pair<EnvoyPeer, Server> {
    /// A connection from the client's application for HTTP that Envoy carries on in that way.
    pub fn by(&self, way: Way) -> Connection {
        Connection::to(self.subnet.address(1, way.port()))
    }
}

impl PairSetup {
    /// A file of resources beside the service's.
    pub fn yaml(mut self, file: &str, yaml: impl Into<String>) -> Self {
        self.files.push((file.into(), yaml.into()));
        self
    }

    /// Another HTTP application.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Another TCP application.
    pub fn tcp_origin(mut self, origin: TcpOrigin) -> Self {
        self.tcp_origin = origin;
        self
    }

    /// What the client's sidecar presents.
    pub fn client_leaf(mut self, leaf: Leaf) -> Self {
        self.client_leaf = leaf;
        self
    }

    /// What the server's sidecar presents.
    pub fn server_leaf(mut self, leaf: Leaf) -> Self {
        self.server_leaf = leaf;
        self
    }

    /// The client's certificate comes from an authority that the server does not know.
    pub fn client_of_another_authority(mut self) -> Self {
        self.client_authority = true;
        self
    }

    /// The server's certificate comes from an authority that the client does not know.
    pub fn server_of_another_authority(mut self) -> Self {
        self.server_authority = true;
        self
    }

    /// MeshConfig fields, inline.
    pub fn mesh_config(mut self, fields: &str) -> Self {
        self.mesh_config = Some(fields.into());
        self
    }

    /// Starts both, and returns when both are ready.
    #[track_caller]
    pub fn start(self) -> Pair {
        self.start_with(|side| side.sidecar("client"), |side| side.sidecar("server"))
    }

    /// The same with Envoy beside the client.
    #[track_caller]
    pub fn envoy_client(self) -> Pair<EnvoyPeer, Sidecar> {
        let dial = |side: &Side<'_>| EnvoyPeer::client(side.directory, side.subnet, side.files, HOST);
        self.start_with(dial, |side| side.sidecar("server"))
    }

    /// The same with Envoy beside the server.
    #[track_caller]
    pub fn envoy_server(self, inbound: &Inbound) -> Pair<Sidecar, EnvoyPeer> {
        let (http, tcp) = (self.origin.address(), self.tcp_origin.address());
        self.start_with(
            |side| side.sidecar("client"),
            |side| EnvoyPeer::server(side.directory, side.subnet, side.files, inbound, http, tcp),
        )
    }

    #[track_caller]
    fn start_with<C, S>(
        self,
        client: impl FnOnce(&Side<'_>) -> C,
        server: impl FnOnce(&Side<'_>) -> S,
    ) -> Pair<C, S> {
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let subnet = Subnet::new();
        let mesh = Mesh::new(directory.path(), subnet);
        mesh.write("service.yaml", SERVICE);
        mesh.write("sidecars.yaml", &sidecars(self.origin.address(), self.tcp_origin.address()));
        for (file, yaml) in &self.files {
            mesh.write(file, yaml);
        }
        let pki = Pki::new(directory.path(), "ca");
        let issue = |name, leaf, another| match another {
            false => pki.issue(name, leaf),
            true => {
                let other = Pki::new(directory.path(), "other-ca");
                Files { bundle: pki.bundle().into(), ..other.issue(name, leaf) }
            }
        };
        let client_files = issue("client", &self.client_leaf, self.client_authority);
        let server_files = issue("server", &self.server_leaf, self.server_authority);
        let side =
            |address, files| Side { setup: &self, directory: directory.path(), subnet, address, files };
        let server = server(&side(subnet.ip(2), &server_files));
        let client = client(&side(subnet.ip(1), &client_files));
        let Self { origin, tcp_origin, .. } = self;
        Pair { client, server, origin, tcp_origin, mesh, pki, client_files, server_files, subnet, directory }
    }
}

impl Side<'_> {
    fn sidecar(&self, name: &str) -> Sidecar {
        let mut bootstrap = Bootstrap::new(self.setup.run, self.directory, name, self.address, self.files);
        if let Some(fields) = &self.setup.mesh_config {
            bootstrap.mesh.clone_from(fields);
        }
        Sidecar::start(&bootstrap)
    }
}

const SERVICE: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: server, namespace: default}
spec:
  hosts: [server.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {number: 8080, targetPort: 18080, protocol: HTTP, name: http}
  - {number: 9090, targetPort: 19090, protocol: TCP, name: tcp}
  endpoints:
  - {address: NET.2, serviceAccount: server, labels: {app: server, version: v1}}
";

fn sidecars(http: SocketAddr, tcp: SocketAddr) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client, namespace: default}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  egress:
  - {{bind: NET.1, port: {{number: 8080, protocol: HTTP, name: http}}, captureMode: NONE, hosts: ['*/*']}}
  - {{bind: NET.1, port: {{number: 9090, protocol: TCP, name: tcp}}, captureMode: NONE, hosts: ['*/*']}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: server, namespace: default}}
spec:
  workloadSelector: {{labels: {{app: server}}}}
  ingress:
  - {{bind: NET.2, port: {{number: 18080, protocol: HTTP, name: http}}, captureMode: NONE, defaultEndpoint: '{http}'}}
  - {{bind: NET.2, port: {{number: 19090, protocol: TCP, name: tcp}}, captureMode: NONE, defaultEndpoint: '{tcp}'}}
"
    )
}
