//! Rotation as it happens: each test changes files and waits for what the source reports.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidering_identity::{Credentials, SpiffeId, TrustDomain};
use tokio::sync::mpsc;

use super::*;
use crate::ca::{CertificateAuthority, Issued, LEAF_LIFETIME, Validity};
use crate::reload::{REPEAT, Reload};

/// Long enough to tell a half-written file, short enough for many tests.
const SHORT: Duration = Duration::from_millis(20);

fn authority(directory: &Path) -> CertificateAuthority {
    CertificateAuthority::init(&directory.join("ca"), &TrustDomain::parse("cluster.local").unwrap()).unwrap()
}

fn orders() -> SpiffeId {
    SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap()
}

fn issue(ca: &CertificateAuthority) -> Issued {
    ca.issue(&orders(), &[], Validity::lasting(LEAF_LIFETIME)).unwrap()
}

fn files(directory: &Path) -> FileIdentity {
    let [certificate, key, bundle] =
        ["orders.pem", "orders.key", "ca/ca.pem"].map(|name| directory.join(name));
    FileIdentity::new(certificate, key, bundle).quiet(SHORT)
}

fn leaf(credentials: &Credentials) -> &[u8] {
    &credentials.chain.certificates[0]
}

/// A source that runs: what it published, what it reports, and how to have it look.
struct Running {
    published: Arc<Mutex<Vec<Credentials>>>,
    reports: mpsc::UnboundedReceiver<IdentityReport>,
    reload: Reload,
}

impl Running {
    async fn files(mut source: FileIdentity) -> (Self, Credentials) {
        let first = source.load().await.unwrap();
        let (running, publish, report, reloads) = Self::ends();
        tokio::spawn(source.run(publish, report, reloads));
        (running, first)
    }

    fn ends() -> (Self, PublishCredentials, impl FnMut(IdentityReport), crate::Reloads) {
        let published = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&published);
        let publish: PublishCredentials = Arc::new(move |credentials: Credentials| {
            kept.lock().unwrap().push(credentials.clone());
            Ok(credentials.version)
        });
        let (reporter, reports) = mpsc::unbounded_channel();
        let (reload, reloads) = Reload::channel();
        let report = move |report| reporter.send(report).unwrap();
        (Self { published, reports, reload }, publish, report, reloads)
    }

    fn published(&self) -> Vec<Credentials> {
        self.published.lock().unwrap().clone()
    }

    async fn rotated(&mut self) -> Credentials {
        loop {
            match self.reports.recv().await.unwrap() {
                IdentityReport::Rotated(credentials) => return credentials,
                IdentityReport::Stale(_) => {}
            }
        }
    }

    async fn stale(&mut self, because: &str) {
        loop {
            match self.reports.recv().await.unwrap() {
                IdentityReport::Stale(problem) if problem.contains(because) => return,
                IdentityReport::Stale(_) => {}
                IdentityReport::Rotated(_) => panic!("rotated, expected {because}"),
            }
        }
    }
}

#[tokio::test]
async fn key_and_certificate_written_one_after_the_other_are_taken_once_they_fit() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    issue(&ca).write(&directory.path().join("orders")).unwrap();
    let (mut running, old) = Running::files(files(directory.path())).await;

    let new = issue(&ca);
    fs::write(directory.path().join("orders.key"), &*new.key_pem).unwrap();
    running.stale("orders.key does not fit").await;
    assert!(running.published().is_empty());

    fs::write(directory.path().join("orders.pem"), &new.certificate_pem).unwrap();
    let rotated = running.rotated().await;
    assert_eq!(leaf(&rotated), new.chain.certificates[0]);
    assert_ne!(leaf(&rotated), leaf(&old));
    assert!(rotated.version > old.version);
    assert_eq!(running.published().len(), 1);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_tried_and_said_again() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    issue(&ca).write(&directory.path().join("orders")).unwrap();
    let (mut running, _) = Running::files(files(directory.path())).await;
    fs::write(directory.path().join("orders.key"), &*issue(&ca).key_pem).unwrap();
    running.stale("orders.key does not fit").await;
    // From here on time passes whenever everybody waits.
    tokio::time::pause();
    let again = tokio::time::timeout(2 * REPEAT, running.stale("orders.key does not fit")).await;
    again.expect("it was said once only");
}

#[tokio::test]
async fn a_certificate_cut_at_any_byte_never_counts() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    let issued = issue(&ca);
    issued.write(&directory.path().join("orders")).unwrap();
    let path = directory.path().join("orders.pem");
    let mut source = files(directory.path()).quiet(Duration::ZERO);
    let end = issued.certificate_pem.find("-----END").unwrap() + "-----END CERTIFICATE-----".len();
    for length in 0..end {
        fs::write(&path, &issued.certificate_pem[..length]).unwrap();
        assert!(source.load().await.is_err(), "{length} bytes of it were taken");
    }
    fs::write(&path, &issued.certificate_pem).unwrap();
    source.load().await.unwrap();
}

#[tokio::test]
async fn a_swapped_symbolic_link_is_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    let version = |name: &str| {
        let version = directory.path().join(name);
        fs::create_dir(&version).unwrap();
        let issued = issue(&ca);
        issued.write(&version.join("tls")).unwrap();
        issued.chain.certificates[0].clone()
    };
    // As Kubernetes mounts a secret: the files lead through `..data`, which is swapped.
    version("..1");
    let mount = directory.path();
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/tls.pem", mount.join("tls.pem")).unwrap();
    symlink("..data/tls.key", mount.join("tls.key")).unwrap();
    let source = FileIdentity::new(mount.join("tls.pem"), mount.join("tls.key"), mount.join("ca/ca.pem"));
    let (mut running, _) = Running::files(source.quiet(SHORT)).await;

    let new = version("..2");
    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    assert_eq!(leaf(&running.rotated().await), new);
}

#[tokio::test]
async fn vanished_files_leave_the_pair_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    issue(&ca).write(&directory.path().join("orders")).unwrap();
    let (mut running, _) = Running::files(files(directory.path())).await;
    fs::remove_file(directory.path().join("orders.pem")).unwrap();
    running.reload.now().await;
    running.stale("orders.pem: no such file or directory").await;
    assert!(running.published().is_empty());
}

#[tokio::test]
async fn what_the_data_path_refuses_is_said() {
    let directory = tempfile::tempdir().unwrap();
    issue(&authority(directory.path())).write(&directory.path().join("orders")).unwrap();
    let mut source = files(directory.path());
    source.load().await.unwrap();
    let (mut running, _, report, reloads) = Running::ends();
    let refuse: PublishCredentials = Arc::new(|_| Err("no such curve".to_owned()));
    tokio::spawn(source.run(refuse, report, reloads));
    running.reload.now().await;
    running.stale("refused: no such curve").await;
}

#[tokio::test]
async fn several_roots_are_all_trusted_and_unusable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    issue(&ca).write(&directory.path().join("orders")).unwrap();
    let bundle = directory.path().join("ca/ca.pem");
    let root = fs::read_to_string(&bundle).unwrap();
    fs::write(&bundle, root.repeat(2)).unwrap();
    let mut source = files(directory.path());
    assert_eq!(source.load().await.unwrap().bundle.roots.len(), 2);

    let mut refusal = async |name: &str, content: &str| {
        let path = directory.path().join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let error = source.load().await.map(|_| ()).unwrap_err().to_string();
        fs::write(&path, before).unwrap();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        error
    };
    assert!(refusal("ca/ca.pem", "").await.contains("no certificate in it"));
    assert!(refusal("orders.pem", "hello").await.contains("no certificate in it"));
    assert!(refusal("orders.key", "hello").await.contains("no private key in it"));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(refusal("orders.key", encrypted).await.contains("is encrypted"));
}

#[tokio::test]
async fn the_embedded_ca_renews_before_half_of_a_life_is_far_gone() {
    let directory = tempfile::tempdir().unwrap();
    authority(directory.path());
    let mut source =
        EmbeddedCaIdentity::new(directory.path().join("ca"), orders()).lifetime(Duration::from_secs(1));
    let first = source.load().await.unwrap();
    let (mut running, publish, report, reloads) = Running::ends();
    tokio::spawn(source.run(publish, report, reloads));
    let (second, third) = (running.rotated().await, running.rotated().await);
    assert_eq!([first.version, second.version, third.version], [1, 2, 3]);
    assert_ne!(leaf(&first), leaf(&second));
    assert_ne!(leaf(&second), leaf(&third));
}

#[tokio::test]
async fn an_embedded_ca_without_its_key_keeps_what_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    authority(directory.path());
    let mut source = EmbeddedCaIdentity::new(directory.path().join("ca"), orders());
    source.load().await.unwrap();
    let (mut running, publish, report, reloads) = Running::ends();
    tokio::spawn(source.run(publish, report, reloads));
    fs::remove_file(directory.path().join("ca/ca.key")).unwrap();
    running.stale("ca.key").await;
    assert!(running.published().is_empty());
}
