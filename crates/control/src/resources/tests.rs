//! Reloads as they go wrong: each test changes files under a running watch and looks at what was published and what
//! was reported.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::reload::{REPEAT, Reload};

/// Long enough to tell a half-written file, short enough for many tests.
const SHORT: Duration = Duration::from_millis(20);

const INGRESS: &str = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  ingress:
  - bind: 127.0.0.1
    port: {number: 18080, protocol: HTTP, name: http}
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:9
";

const DENY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-writes, namespace: shop}
spec:
  action: DENY
  rules:
  - to:
    - operation: {methods: [POST, PUT]}
";

fn strict(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: default, namespace: shop}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
}

fn inputs(path: PathBuf) -> ResourceInputs {
    ResourceInputs {
        base: path.parent().unwrap().to_owned(),
        paths: vec![path],
        mesh: MeshConfig::default(),
        workload: Workload {
            name: "orders-1".into(),
            namespace: "shop".into(),
            service_account: "orders".into(),
            ..Workload::default()
        },
        capture: CaptureListeners::default(),
    }
}

/// What a snapshot does, as far as these tests tell states apart.
fn gist(snapshot: &Snapshot) -> String {
    let chains = snapshot.listeners.iter().flat_map(|listener| &listener.chains);
    chains.map(|chain| format!("{} {:?} {}\n", chain.name, chain.authorization, chain.origin)).collect()
}

/// A directory of resources, and a watch that runs on it.
struct Running {
    directory: TempDir,
    published: Arc<Mutex<Vec<String>>>,
    reports: mpsc::UnboundedReceiver<ResourceReport>,
    reload: Reload,
}

impl Running {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("mesh")).unwrap();
        fs::write(directory.path().join("mesh/ingress.yaml"), INGRESS).unwrap();
        fs::write(directory.path().join("mesh/strict.yaml"), strict("STRICT")).unwrap();
        let path = directory.path().join("mesh");
        Self::on(directory, path, SHORT).await
    }

    async fn on(directory: TempDir, path: PathBuf, quiet: Duration) -> Self {
        let published = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&published);
        let publish: Publish = Arc::new(move |snapshot: Snapshot| {
            let mut published = kept.lock().unwrap();
            published.push(gist(&snapshot));
            Ok(Version(published.len() as u64))
        });
        let (reports, reload) = Self::watch(path, quiet, publish).await;
        Self { directory, published, reports, reload }
    }

    async fn watch(
        path: PathBuf,
        quiet: Duration,
        publish: Publish,
    ) -> (mpsc::UnboundedReceiver<ResourceReport>, Reload) {
        let mut watch = ResourceWatch::new(inputs(path)).quiet(quiet);
        publish(watch.load().await.unwrap().snapshot).unwrap();
        let (reporter, reports) = mpsc::unbounded_channel();
        let (reload, reloads) = Reload::channel();
        tokio::spawn(watch.run(publish, move |report| reporter.send(report).unwrap(), reloads));
        (reports, reload)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn published(&self) -> Vec<String> {
        self.published.lock().unwrap().clone()
    }

    /// The next report of that outcome.
    async fn stale(&mut self) -> Vec<String> {
        match self.reports.recv().await.unwrap() {
            ResourceReport::Stale(problems) => problems,
            other => panic!("{other:?}"),
        }
    }

    async fn taken(&mut self) -> Vec<String> {
        loop {
            if let ResourceReport::Published { warnings, .. } = self.reports.recv().await.unwrap() {
                return warnings;
            }
        }
    }

    /// Has the watch look now, and gives its latest report.
    async fn looked(&mut self) -> ResourceReport {
        self.reload.now().await;
        let mut latest = self.reports.recv().await.unwrap();
        while let Ok(later) = self.reports.try_recv() {
            latest = later;
        }
        latest
    }
}

async fn fresh(path: &Path) -> Option<String> {
    let mut watch = ResourceWatch::new(inputs(path.to_owned())).quiet(Duration::ZERO);
    watch.load().await.ok().map(|loaded| gist(&loaded.snapshot))
}

#[tokio::test]
async fn a_file_cut_at_any_byte_is_the_last_good_state_or_wholly_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("mesh")).unwrap();
    let whole = format!("{INGRESS}---\n{}---\n{DENY}", strict("STRICT"));
    fs::write(directory.path().join("mesh/all.yaml"), &whole).unwrap();
    let path = directory.path().join("mesh");
    let mut running = Running::on(directory, path.clone(), Duration::ZERO).await;
    for length in 0..whole.len() {
        let before = running.published().pop();
        fs::write(running.path("mesh/all.yaml"), &whole[..length]).unwrap();
        let report = running.looked().await;
        let after = running.published().pop();
        match report {
            ResourceReport::Stale(problems) => {
                assert!(problems[0].contains("mesh/all.yaml"), "at {length}: {problems:?}");
                assert_eq!(after, before, "at {length}");
            }
            ResourceReport::Published { .. } => assert_eq!(after, fresh(&path).await, "at {length}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_being_written_is_waited_for() {
    let mut running = Running::start().await;
    let path = running.path("mesh/strict.yaml");
    // Each prefix is written over the one before, as a slow writer would; only the last is left alone.
    let writer = std::thread::spawn(move || {
        let whole = format!("{DENY}---\n{}", strict("PERMISSIVE"));
        (0..=whole.len()).for_each(|length| fs::write(&path, &whole[..length]).unwrap());
    });
    running.taken().await;
    writer.join().unwrap();
    let published = running.published();
    assert_eq!(published.last().cloned(), fresh(&running.path("mesh")).await);
    assert_eq!(published.len(), 2, "a part of it was published: {published:#?}");
}

#[tokio::test]
async fn a_removed_directory_deletes_no_policy() {
    let mut running = Running::start().await;
    let (mesh, away) = (running.path("mesh"), running.path("away"));
    fs::rename(&mesh, &away).unwrap();
    let problems = running.stale().await;
    assert_eq!(problems, [format!("{}: no such file or directory", mesh.display())]);
    fs::rename(&away, &mesh).unwrap();
    running.taken().await;
    let published = running.published();
    assert_eq!((published.len(), &published[0]), (2, &published[1]));
}

#[tokio::test]
async fn emptied_files_and_directories_delete_no_policy() {
    let mut running = Running::start().await;
    fs::write(running.path("mesh/strict.yaml"), "").unwrap();
    let problems = running.stale().await;
    assert!(problems[0].contains("strict.yaml: empty"), "{problems:?}");
    fs::remove_file(running.path("mesh/strict.yaml")).unwrap();
    fs::remove_file(running.path("mesh/ingress.yaml")).unwrap();
    let ResourceReport::Stale(problems) = running.looked().await else {
        panic!("an empty directory was taken")
    };
    assert!(problems[0].contains("mesh: holds no .yaml"), "{problems:?}");
    assert_eq!(running.published().len(), 1);
}

#[tokio::test]
async fn a_swapped_symbolic_link_is_a_new_state() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, mode) in [("v1", "PERMISSIVE"), ("v2", "STRICT")] {
        fs::create_dir_all(at(version).join("mesh")).unwrap();
        fs::write(at(version).join("mesh/all.yaml"), format!("{INGRESS}---\n{}", strict(mode))).unwrap();
    }
    symlink("v1", at("current")).unwrap();
    symlink("v2", at("next")).unwrap();
    let (from, to, path) = (at("next"), at("current"), at("current/mesh"));
    let mut running = Running::on(directory, path, SHORT).await;
    fs::rename(from, to).unwrap();
    running.taken().await;
    let published = running.published();
    assert_eq!(
        published.last().cloned(),
        fresh(&running.path("v2/mesh")).await.map(|gist| gist.replace("v2", "current"))
    );
    assert_ne!(published[0], published[1]);
}

#[tokio::test]
async fn one_error_in_one_file_refuses_all_of_them_and_names_its_line() {
    let mut running = Running::start().await;
    fs::write(running.path("mesh/deny.yaml"), DENY).unwrap();
    fs::write(running.path("mesh/strict.yaml"), strict("STRIKT")).unwrap();
    let ResourceReport::Stale(problems) = running.looked().await else { panic!("half of it was taken") };
    assert!(problems[0].contains("strict.yaml:4:"), "{problems:?}");
    assert_eq!(running.published().len(), 1);
    fs::write(running.path("mesh/strict.yaml"), strict("STRICT")).unwrap();
    running.taken().await;
    assert!(running.published().pop().unwrap().contains("no-writes"));
}

#[tokio::test]
async fn after_any_change_a_set_is_what_somebody_who_reads_it_first_would_see() {
    let mut running = Running::start().await;
    fs::write(running.path("mesh/deny.yaml"), DENY).unwrap();
    running.taken().await;
    fs::write(running.path("mesh/deny.yaml"), format!("# a line above\n{DENY}")).unwrap();
    running.taken().await;
    fs::rename(running.path("mesh/deny.yaml"), running.path("mesh/a.yaml")).unwrap();
    running.taken().await;
    let published = running.published().pop().unwrap();
    assert!(published.contains("a.yaml"), "{published}");
    assert_eq!(fresh(&running.path("mesh")).await.unwrap(), published);

    fs::write(running.path("mesh/b.yaml"), DENY).unwrap();
    let problems = running.stale().await;
    assert!(problems[0].contains("b.yaml:1:1") && problems[0].contains("a.yaml:2:1"), "{problems:?}");
    fs::remove_file(running.path("mesh/a.yaml")).unwrap();
    running.taken().await;
    assert_eq!(fresh(&running.path("mesh")).await.unwrap(), running.published().pop().unwrap());
}

#[tokio::test]
async fn losing_the_last_policy_is_said() {
    let mut running = Running::start().await;
    fs::write(running.path("mesh/deny.yaml"), DENY).unwrap();
    running.taken().await;
    fs::remove_file(running.path("mesh/deny.yaml")).unwrap();
    let warnings = running.taken().await;
    assert_eq!(
        warnings,
        ["no AuthorizationPolicy selects this workload any more; until this reload: shop/no-writes"]
    );
    fs::remove_file(running.path("mesh/strict.yaml")).unwrap();
    let warnings = running.taken().await;
    assert_eq!(
        warnings,
        ["no PeerAuthentication selects this workload any more; until this reload: shop/default"]
    );
}

#[tokio::test]
async fn what_the_data_path_refuses_is_stale() {
    let running = Running::start().await;
    let answers = Mutex::new(vec![Err("port in use".to_owned()), Ok(Version(1))]);
    let publish: Publish = Arc::new(move |_| answers.lock().unwrap().pop().unwrap());
    let (mut reports, reload) = Running::watch(running.path("mesh"), SHORT, publish).await;
    reload.now().await;
    assert!(matches!(reports.recv().await.unwrap(), ResourceReport::Stale(why) if why == ["port in use"]));
}

#[tokio::test]
async fn nothing_is_published_when_nothing_changed() {
    let mut running = Running::start().await;
    let content = fs::read(running.path("mesh/strict.yaml")).unwrap();
    // A neighbour that is no resource stirs the watch.
    fs::write(running.path("notes.txt"), content).unwrap();
    fs::write(running.path("mesh/deny.yaml"), DENY).unwrap();
    running.taken().await;
    assert_eq!(running.published().len(), 2);
}

#[tokio::test]
async fn what_is_refused_is_tried_and_said_again() {
    let mut running = Running::start().await;
    fs::write(running.path("mesh/strict.yaml"), strict("STRIKT")).unwrap();
    let problems = running.stale().await;
    // From here on time passes whenever everybody waits.
    tokio::time::pause();
    for _ in 0..3 {
        let again = tokio::time::timeout(2 * REPEAT, running.stale()).await;
        assert_eq!(again.expect("it was said once only"), problems);
    }
}

const ORIGINATE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: shop}
spec:
  hosts: [partner.example]
  ports: [{number: 18081, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.9}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  egress:
  - port: {number: 18081, protocol: HTTP, name: http}
    bind: 127.0.0.1
    captureMode: NONE
    hosts: ['*/*']
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: partner, namespace: shop}
spec:
  host: partner.example
  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: partner.pem}}
";

#[tokio::test]
async fn a_named_file_that_changes_while_it_is_compiled_is_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("mesh.yaml"), ORIGINATE).unwrap();
    fs::write(at("partner.pem"), "half").unwrap();
    let mut watch = ResourceWatch::new(inputs(at("mesh.yaml")));
    let files = quiet::read(vec![at("mesh.yaml")], Duration::ZERO).await.unwrap();
    let fingerprint = files.fingerprint.clone();
    let (outcome, named) = compile_files(&watch.inputs, files, &mut watch.parsed);
    assert!(outcome.unwrap_err().to_string().contains("partner.pem"));
    fs::write(at("partner.pem"), "half and half").unwrap();
    watch.seen = Some(Seen { resources: Ok(fingerprint), named });
    assert!(watch.seen.as_ref() != Some(&watch.look()), "nobody would look again");
    assert!(watch.watched().contains(&at("partner.pem")));
}
