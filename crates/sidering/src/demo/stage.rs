//! Where the story plays: a directory with configs/demo and certificates, four sidecars, the applications behind
//! them, and a loopback network that no other demo on this machine uses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use sidering_control::ca::{CertificateAuthority, LEAF_LIFETIME, Validity};
use sidering_identity::{Bundle, CertificateChain, SpiffeId, TrustDomain};
use sidering_tls::Backend;
use tempfile::TempDir;

use super::files;
use super::origin::{Speaks, serve};
use super::partner::Partner;
use super::sidecar::{Children, Sidecar};

/// The application's way to every service: the frontend's sidecar.
pub(super) const OUTBOUND: u16 = 8080;
/// The frontend's own inbound port.
pub(super) const FRONTEND_INBOUND: u16 = 8081;
/// The application's way to customers alone.
pub(super) const ONLY_CUSTOMERS: u16 = 8082;

/// Everything that runs.
pub(super) struct Stage {
    pub(super) frontend: Sidecar,
    pub(super) customers_v1: Sidecar,
    pub(super) customers_v2: Sidecar,
    pub(super) orders: Sidecar,
    net: Net,
    mesh_authority: CertificateAuthority,
    directory: TempDir,
}

/// 127.77.N.0/24, held by a listener.
struct Net {
    third: u8,
    _held: TcpListener,
}

impl Stage {
    /// Lays everything out and waits until it runs.
    pub(super) fn set(backend: Backend, driver: &str, children: &Children) -> Result<Self, String> {
        let net = Net::take()?;
        let directory = TempDir::with_prefix("sidering-demo-").map_err(text)?;
        let at = directory.path();
        files::lay_out(at, |file| {
            let file = file.replace("127.77.0.", &format!("127.77.{}.", net.third));
            file.replace("backend: rustls", &format!("backend: {backend}"))
                .replace("driver: auto", &format!("driver: {driver}"))
        })
        .map_err(text)?;
        let mesh_authority =
            CertificateAuthority::init(&at.join("ca"), &domain("cluster.local")?).map_err(text)?;
        for (name, namespace, account) in WORKLOADS {
            issue(&mesh_authority, &at.join("certs").join(name), "cluster.local", namespace, account)?;
        }
        open_applications(backend, &net, at)?;
        let mut stage = Self {
            frontend: Sidecar::start("frontend", at, children)?,
            customers_v1: Sidecar::start("customers-v1", at, children)?,
            customers_v2: Sidecar::start("customers-v2", at, children)?,
            orders: Sidecar::start("orders", at, children)?,
            net,
            mesh_authority,
            directory,
        };
        stage.sidecars().into_iter().try_for_each(Sidecar::wait_ready)?;
        Ok(stage)
    }
}

/// Name, namespace and service account of each workload with a sidecar.
const WORKLOADS: [(&str, &str, &str); 4] = [
    ("frontend", "web", "frontend"),
    ("customers-v1", "shop", "customers"),
    ("customers-v2", "shop", "customers"),
    ("orders", "shop", "orders"),
];

impl Stage {
    /// `127.77.N.HOST:PORT`.
    pub(super) fn address(&self, host: u8, port: u16) -> SocketAddr {
        self.net.address(host, port)
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces mesh/peer-authentication.yaml and waits until every core of every sidecar has acknowledged.
    pub(super) fn authenticate_peers(&mut self, policy: &str) -> Result<(), String> {
        let before = self.sidecars().map(|sidecar| sidecar.status().map(|status| snapshot(&status)));
        fs::write(self.directory().join("mesh/peer-authentication.yaml"), policy).map_err(text)?;
        for (sidecar, before) in self.sidecars().into_iter().zip(before) {
            let before = before?;
            sidecar.wait_status(|status| snapshot(status) > before)?;
        }
        Ok(())
    }

    /// Issues new certificates for customers-v1 and then for the frontend, and waits until each is in use. In this
    /// order: new credentials make the frontend forget its TLS sessions, and only a full handshake shows it who the
    /// server is now. Gives the serials, the frontend's first.
    pub(super) fn rotate(&mut self) -> Result<(String, String), String> {
        let certificates = self.directory().join("certs");
        let issue = |(name, namespace, account)| {
            issue(&self.mesh_authority, &certificates.join(name), "cluster.local", namespace, account)
        };
        let customers = issue(WORKLOADS[1])?;
        self.customers_v1.wait_status(|status| status["certificate"]["serial"] == customers.as_str())?;
        let frontend = issue(WORKLOADS[0])?;
        self.frontend.wait_status(|status| status["certificate"]["serial"] == frontend.as_str())?;
        Ok((frontend, customers))
    }

    fn sidecars(&mut self) -> [&mut Sidecar; 4] {
        [&mut self.frontend, &mut self.customers_v1, &mut self.customers_v2, &mut self.orders]
    }
}

impl Net {
    /// The first that nobody holds.
    fn take() -> Result<Self, String> {
        let held = |third| TcpListener::bind((Ipv4Addr::new(127, 77, third, 250), 7700)).ok();
        (0..=u8::MAX)
            .find_map(|third| Some(Self { third, _held: held(third)? }))
            .ok_or_else(|| "no address of 127.77.0.0/16 can be bound: is the loopback interface up?".into())
    }

    fn address(&self, host: u8, port: u16) -> SocketAddr {
        (Ipv4Addr::new(127, 77, self.third, host), port).into()
    }
}

/// The applications behind the sidecars, one without, and the partners outside.
fn open_applications(backend: Backend, net: &Net, directory: &Path) -> Result<(), String> {
    let partner =
        CertificateAuthority::init(&directory.join("partner"), &domain("partner.example")?).map_err(text)?;
    fs::copy(directory.join("partner/ca.pem"), directory.join("certs/partner-ca.pem")).map_err(text)?;
    let ours = partner_leaf(&partner, "shop.example")?;
    ours.write(&directory.join("certs/shop-at-partner")).map_err(text)?;
    let tls = |name: &str, clients: Option<&Bundle>| {
        let chain: CertificateChain = partner_leaf(&partner, name)?.chain;
        Partner::new(backend, &chain, clients).map(Speaks::Tls)
    };
    let applications = [
        ("frontend", net.address(1, 9081), Speaks::Plain),
        ("customers v1", net.address(2, 9080), Speaks::Plain),
        ("customers v2", net.address(3, 9080), Speaks::Plain),
        ("orders", net.address(4, 9080), Speaks::Plain),
        ("orders without a sidecar", net.address(5, 8080), Speaks::Plain),
        ("plain partner", net.address(9, 9080), Speaks::Plain),
        ("TLS partner", net.address(9, 9443), tls("tls.partner.example", None)?),
        ("mutual TLS partner", net.address(9, 9444), tls("mutual.partner.example", Some(partner.bundle()))?),
    ];
    for (name, address, speaks) in applications {
        serve(name, address, speaks)
            .map_err(|error| format!("{name} cannot listen on {address}: {error}"))?;
    }
    Ok(())
}

fn partner_leaf(
    authority: &CertificateAuthority,
    name: &str,
) -> Result<sidering_control::ca::Issued, String> {
    let id = SpiffeId::of_account(&domain("partner.example")?, "outside", "web").map_err(text)?;
    authority.issue(&id, &[name.to_owned()], Validity::lasting(LEAF_LIFETIME)).map_err(text)
}

/// Writes a workload's leaf and key, and gives its serial.
fn issue(
    authority: &CertificateAuthority,
    prefix: &Path,
    trust_domain: &str,
    namespace: &str,
    account: &str,
) -> Result<String, String> {
    let id = SpiffeId::of_account(&domain(trust_domain)?, namespace, account).map_err(text)?;
    let issued = authority.issue(&id, &[], Validity::lasting(LEAF_LIFETIME)).map_err(text)?;
    issued.write(prefix).map_err(text)?;
    let leaf = sidering_identity::read_leaf(&issued.chain.certificates[0]).map_err(text)?;
    Ok(leaf.serial)
}

fn domain(name: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(name).map_err(text)
}

fn snapshot(status: &serde_json::Value) -> u64 {
    status["version"].as_u64().unwrap_or(0)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
