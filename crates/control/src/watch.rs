//! Tells when files may have changed: inotify on every directory in which a change would show, and a slow poll for
//! file systems that do not tell. It may cry wolf; whoever is woken compares fingerprints.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// The safety net's period.
const POLL: Duration = Duration::from_secs(5);
/// Symbolic links to symbolic links, at most.
const LINKS: usize = 16;

pub(crate) struct Watch {
    stirred: Arc<Notify>,
    /// Absent when the system has no inotify instance left: then only the poll is there.
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let stirred = Arc::new(Notify::new());
        // What changed after the first load and before this watch would be missed.
        stirred.notify_one();
        let bell = Arc::clone(&stirred);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading is no change; an error may hide one.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                bell.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!("files are only looked at every {POLL:?}: {error}"))
            .ok();
        Self { stirred, watcher, directories: BTreeSet::new() }
    }

    /// From now on watches where changes to `paths` would show, and nowhere else. A directory that was removed and
    /// made again is a new one: call this after every load.
    pub(crate) fn follow<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = BTreeSet::new();
        paths.for_each(|path| add_directories(path, LINKS, &mut wanted));
        for gone in self.directories.difference(&wanted) {
            // It may be gone from the file system as well, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        for directory in &wanted {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::debug!("{} is only looked at every {POLL:?}: {error}", directory.display());
            }
        }
        self.directories = wanted;
    }

    /// Returns when something may have changed since the last call.
    pub(crate) async fn stirred(&self) {
        // Running out of time is the poll.
        let _ = tokio::time::timeout(POLL, self.stirred.notified()).await;
    }
}

/// The directory itself, or the one that holds the file; and for every symbolic link on the way the directory that
/// holds the link, for links are swapped there.
fn add_directories(path: &Path, links: usize, into: &mut BTreeSet<PathBuf>) {
    let path = match std::path::absolute(path) {
        Ok(path) => path,
        Err(_) => return,
    };
    if path.is_dir() {
        into.insert(path.clone());
    }
    into.extend(path.parent().map(Path::to_owned));
    if links == 0 {
        return;
    }
    for part in path.ancestors() {
        let (Ok(target), Some(parent)) = (part.read_link(), part.parent()) else { continue };
        into.insert(parent.to_owned());
        add_directories(&parent.join(target), links - 1, into);
    }
}
