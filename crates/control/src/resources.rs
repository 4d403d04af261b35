//! Istio resources from files, watched: the whole set is read, parsed and compiled, or none of it counts. Whatever is
//! wrong leaves the last good snapshot in force, is reported with file and line, and is said again while it lasts.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidering_istio::{
    Action, CaptureListeners, Diagnostic, Effective, MeshConfig, Resources, Source, Workload, compile,
};
use sidering_policy::{Snapshot, Version};
use tokio::task::spawn_blocking;

use crate::parsed::ParsedFiles;
use crate::quiet::{self, Files, Fingerprint, QUIET, Unreadable};
use crate::reload::{Reloads, Retry};
use crate::watch::Watch;

/// Hands a snapshot to the data path, which may refuse it; blocking, called off the control runtime's thread.
pub type Publish = Arc<dyn Fn(Snapshot) -> Result<Version, String> + Send + Sync>;

/// Files of Istio resources, and the workload that they are read for.
pub struct ResourceWatch {
    inputs: Arc<ResourceInputs>,
    quiet: Duration,
    parsed: ParsedFiles,
    seen: Option<Seen>,
    in_force: Option<Arc<Effective>>,
}

/// What a snapshot is made from.
#[derive(Clone, Debug)]
pub struct ResourceInputs {
    /// Files, or directories of `.yaml`, `.yml` and `.json` files.
    pub paths: Vec<PathBuf>,
    /// The mesh's settings.
    pub mesh: MeshConfig,
    /// Who the sidecar stands beside.
    pub workload: Workload,
    /// The bootstrap file's capture listeners.
    pub capture: CaptureListeners,
    /// What relative paths in DestinationRules are relative to.
    pub base: PathBuf,
}

/// A whole set, compiled.
#[derive(Debug)]
pub struct Loaded {
    /// Not published yet.
    pub snapshot: Snapshot,
    /// What it was compiled from.
    pub effective: Arc<Effective>,
    /// What the operator should know, a line each.
    pub warnings: Vec<String>,
}

/// Why a set does not count.
#[derive(Debug)]
pub enum LoadFailure {
    /// A path is missing or unreadable.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// At least one of these is an error.
    Invalid(Vec<Diagnostic>),
    /// The data path refused the snapshot: a port in use, a certificate that no backend takes.
    Refused(String),
}

/// What the watch tells after every look at changed files.
#[derive(Clone, Debug)]
pub enum ResourceReport {
    /// This is in force.
    Published {
        /// Acknowledged by every core.
        version: Version,
        /// What it was compiled from.
        effective: Arc<Effective>,
        /// What the operator should know, a line each.
        warnings: Vec<String>,
    },
    /// The last good set stays in force; these lines say why.
    Stale(Vec<String>),
}

type Published = (Version, Arc<Effective>, Vec<String>);

/// The file system as of the last attempt.
#[derive(PartialEq)]
struct Seen {
    resources: Result<Fingerprint, Unreadable>,
    named: Vec<Named>,
}

/// A certificate or key that a DestinationRule names, as it was just before it was read: whatever changed since then is
/// a change.
#[derive(PartialEq)]
struct Named {
    path: PathBuf,
    fingerprint: Option<Fingerprint>,
}

impl ResourceWatch {
    /// Reads nothing yet.
    pub fn new(inputs: ResourceInputs) -> Self {
        Self {
            inputs: Arc::new(inputs),
            quiet: QUIET,
            parsed: ParsedFiles::default(),
            seen: None,
            in_force: None,
        }
    }

    /// How long files must have been left alone before they count; [`QUIET`] unless told otherwise.
    pub fn quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// Reads and compiles the whole set once.
    ///
    /// # Errors
    /// [`LoadFailure::Unreadable`] and [`LoadFailure::Invalid`].
    pub async fn load(&mut self) -> Result<Loaded, LoadFailure> {
        let loaded = self.read().await?;
        self.in_force = Some(Arc::clone(&loaded.effective));
        Ok(loaded)
    }

    /// Publishes every change of the files for ever. Call after a first [`ResourceWatch::load`].
    pub async fn run(
        mut self,
        publish: Publish,
        mut report: impl FnMut(ResourceReport),
        mut reloads: Reloads,
    ) {
        let mut watch = Watch::new();
        let mut retry = Retry::default();
        loop {
            watch.follow(self.watched().iter().map(PathBuf::as_path));
            let asked = tokio::select! {
                () = watch.stirred() => None,
                asked = reloads.asked() => Some(asked),
                () = retry.due() => {
                    self.seen = None;
                    None
                }
            };
            if asked.is_none() && self.seen.as_ref().is_some_and(|seen| *seen == self.look()) {
                continue;
            }
            let outcome = self.load_and_publish(&publish).await;
            retry.note(outcome.is_err());
            report(match outcome {
                Ok((version, effective, warnings)) => {
                    ResourceReport::Published { version, effective, warnings }
                }
                Err(failure) => ResourceReport::Stale(failure.lines()),
            });
        }
    }

    async fn load_and_publish(&mut self, publish: &Publish) -> Result<Published, LoadFailure> {
        let Loaded { snapshot, effective, mut warnings } = self.read().await?;
        let publish = Arc::clone(publish);
        let publishing = spawn_blocking(move || publish(snapshot));
        let version = publishing.await.expect("publishing does not panic").map_err(LoadFailure::Refused)?;
        let before = self.in_force.replace(Arc::clone(&effective));
        warnings.extend(before.iter().flat_map(|before| lost(before, &effective)));
        Ok((version, effective, warnings))
    }

    async fn read(&mut self) -> Result<Loaded, LoadFailure> {
        let read = quiet::read(self.inputs.paths.clone(), self.quiet).await;
        let resources = read.as_ref().map(|files| files.fingerprint.clone()).map_err(Clone::clone);
        let files = match read {
            Ok(files) => files,
            Err(unreadable) => {
                self.seen = Some(Seen { resources, named: Vec::new() });
                return Err(unreadable.into());
            }
        };
        let inputs = Arc::clone(&self.inputs);
        let mut parsed = std::mem::take(&mut self.parsed);
        let compiling = spawn_blocking(move || {
            let (outcome, named) = compile_files(&inputs, files, &mut parsed);
            (outcome, named, parsed)
        });
        let (outcome, named, parsed) = compiling.await.expect("compiling does not panic");
        self.parsed = parsed;
        self.seen = Some(Seen { resources, named });
        outcome
    }

    fn look(&self) -> Seen {
        let named = self.seen.iter().flat_map(|seen| &seen.named);
        Seen {
            resources: quiet::fingerprint(&self.inputs.paths),
            named: named.map(|named| Named::now(named.path.clone())).collect(),
        }
    }

    /// The paths given, the directories below, and the files that resources name.
    fn watched(&self) -> Vec<PathBuf> {
        let mut watched = self.inputs.paths.clone();
        if let Some(seen) = &self.seen {
            watched.extend(seen.named.iter().map(|named| named.path.clone()));
            watched.extend(seen.resources.iter().flat_map(Fingerprint::directories).map(Path::to_owned));
        }
        watched
    }
}

/// Reads a set of resources as it is now, without waiting for it to rest: names and texts, for `lint`.
///
/// # Errors
/// [`LoadFailure::Unreadable`].
pub fn read_resources(paths: &[PathBuf]) -> Result<Vec<(String, String)>, LoadFailure> {
    let contents = quiet::read_now(paths)?;
    let sources = contents.iter().map(|(path, content)| source(path, content));
    sources.map(|source| source.map(|source| (source.file.to_string(), source.text.to_owned()))).collect()
}

/// The outcome, and the files that resources name.
fn compile_files(
    inputs: &ResourceInputs,
    files: Files,
    parsed: &mut ParsedFiles,
) -> (Result<Loaded, LoadFailure>, Vec<Named>) {
    let named = RefCell::new(Vec::new());
    let read = |path: &Path| {
        let path = inputs.base.join(path);
        named.borrow_mut().push(Named::now(path.clone()));
        let content = quiet::read_file(&path);
        // Moved out, not copied.
        content
            .map(|mut content| std::mem::take(&mut *content))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let outcome = parsed
        .read(files.contents)
        .and_then(|(resources, diagnostics)| compile_resources(inputs, &resources, diagnostics, &read));
    (outcome, named.into_inner())
}

fn compile_resources(
    inputs: &ResourceInputs,
    resources: &Resources,
    mut diagnostics: Vec<Diagnostic>,
    read: &dyn Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Loaded, LoadFailure> {
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(LoadFailure::Invalid(diagnostics));
    }
    let effective = Effective::of(resources, &inputs.mesh, &inputs.workload);
    match compile(&effective, &inputs.capture, read) {
        Ok(snapshot) => {
            let warnings =
                diagnostics.iter().map(ToString::to_string).chain(snapshot.warnings.iter().cloned());
            Ok(Loaded { warnings: warnings.collect(), snapshot, effective: Arc::new(effective) })
        }
        Err(more) => {
            diagnostics.extend(more);
            Err(LoadFailure::Invalid(diagnostics))
        }
    }
}

/// An empty file is a half-written one until somebody says otherwise: emptied files must not delete policy.
pub(crate) fn source<'a>(path: &Path, content: &'a [u8]) -> Result<Source<'a>, LoadFailure> {
    let source = Source::of(path.display().to_string().into(), content)
        .map_err(|diagnostic| LoadFailure::Invalid(vec![diagnostic]))?;
    if source.text.trim().is_empty() {
        let problem = "empty; remove the file, or leave a comment in it if that is meant".to_owned();
        return Err(LoadFailure::Unreadable { path: path.to_owned(), problem });
    }
    Ok(source)
}

/// A warning for each kind of security policy of which none selects the workload any more.
fn lost(before: &Effective, after: &Effective) -> Vec<String> {
    let kinds =
        [("AuthorizationPolicy", authorizing as fn(&Effective) -> _), ("PeerAuthentication", authenticating)];
    let lost = kinds.into_iter().filter(|(_, of)| !of(before).is_empty() && of(after).is_empty());
    lost.map(|(kind, of)| {
        let names = Vec::from_iter(of(before)).join(", ");
        format!("no {kind} selects this workload any more; until this reload: {names}")
    })
    .collect()
}

fn authorizing(effective: &Effective) -> BTreeSet<String> {
    let actions = [Action::Allow, Action::Deny, Action::Custom, Action::Audit];
    actions
        .into_iter()
        .flat_map(|action| effective.in_force(action))
        .map(|policy| policy.name.to_string())
        .collect()
}

fn authenticating(effective: &Effective) -> BTreeSet<String> {
    let authentication = effective.authentication();
    let decided = std::iter::once(&authentication.mode).chain(authentication.ports.values());
    let policies = decided.filter(|decided| &*decided.by.kind == "PeerAuthentication");
    policies.map(|decided| decided.by.name.to_string()).collect()
}

impl Named {
    fn now(path: PathBuf) -> Self {
        let fingerprint = quiet::fingerprint(std::slice::from_ref(&path)).ok();
        Self { path, fingerprint }
    }
}

impl From<Unreadable> for LoadFailure {
    fn from(Unreadable { path, problem }: Unreadable) -> Self {
        Self::Unreadable { path, problem }
    }
}

impl LoadFailure {
    /// One line for each problem, errors first come first.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { path, problem } => vec![format!("{}: {problem}", path.display())],
            Self::Invalid(diagnostics) => diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.is_error())
                .map(ToString::to_string)
                .collect(),
            Self::Refused(why) => vec![why.clone()],
        }
    }
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
