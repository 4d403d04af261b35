//! Reads a set of files as one: only when nothing about them changed while they were read, and nothing had changed
//! for a while before. A file that somebody is writing, or a directory that is being swapped, is waited for.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

/// How long files must have been left alone before they count.
pub const QUIET: Duration = Duration::from_millis(100);
/// Rounds after which a set that never rests is an error. With the usual quiet period: ten seconds.
const ROUNDS: usize = 100;
/// Deeper than anybody nests resources; ends a loop of symbolic links.
const DEPTH: usize = 16;
/// Of one file.
const MAX_BYTES: u64 = sidering_istio::MAX_BYTES as u64;
/// Of all files together.
const MAX_TOTAL: usize = 64 << 20;

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Unreadable {
    /// As the operator wrote it, or below.
    pub path: PathBuf,
    /// For people, with the advice.
    pub problem: String,
}

/// What the file system says about a set of files and directories: equal fingerprints, equal contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Stat)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    directory: bool,
    /// Has a content of its own, unlike a pipe or a device.
    regular: bool,
    device: u64,
    inode: u64,
    size: u64,
    /// mtime, nanoseconds since the epoch.
    modified: i128,
    /// ctime, the same: moves with every write, rename and change of mode, and cannot be set by anybody.
    changed: i128,
}

/// Files by name.
pub(crate) type Contents = Vec<(PathBuf, Zeroizing<Vec<u8>>)>;

/// Files with their contents, in the order listed; of a directory, by name.
#[derive(Debug)]
pub(crate) struct Files {
    pub contents: Contents,
    pub fingerprint: Fingerprint,
}

/// Reads every file of `paths` (a directory stands for its `.yaml`, `.yml` and `.json` files, all levels) once they
/// have been unchanged for `quiet`.
///
/// # Errors
/// A path that is missing, unreadable or a directory without such a file; or a set that never rests. An error counts
/// only when it is still there after `quiet`, so that an editor's rename is not one.
pub(crate) async fn read(paths: Vec<PathBuf>, quiet: Duration) -> Result<Files, Unreadable> {
    let mut failed = false;
    for _ in 0..ROUNDS {
        let paths = paths.clone();
        let attempt = tokio::task::spawn_blocking(move || attempt(&paths, quiet))
            .await
            .expect("reading does not panic");
        match attempt {
            Ok(Attempt::Read(files)) => return Ok(files),
            Ok(Attempt::Wait(time)) => {
                failed = false;
                tokio::time::sleep(time).await;
            }
            Err(error) if failed => return Err(error),
            Err(_) => {
                failed = true;
                tokio::time::sleep(quiet).await;
            }
        }
    }
    let path = paths.into_iter().next().unwrap_or_default();
    Err(Unreadable { problem: "keeps changing while it is read".to_owned(), path })
}

/// The same without waiting, for a look at files that nobody acts on.
pub(crate) fn read_now(paths: &[PathBuf]) -> Result<Contents, Unreadable> {
    fingerprint(paths)?.read()
}

/// What the file system says now.
pub(crate) fn fingerprint(paths: &[PathBuf]) -> Result<Fingerprint, Unreadable> {
    let mut entries = Vec::new();
    for path in paths {
        let files = entries.len();
        list(path, DEPTH, true, &mut entries)?;
        if entries[files..].iter().all(|(_, stat): &(PathBuf, Stat)| stat.directory) {
            let problem = "holds no .yaml, .yml or .json file; leave the directory out if that is meant";
            return Err(unreadable(path, problem.to_owned()));
        }
    }
    Ok(Fingerprint(entries))
}

impl Fingerprint {
    /// Directories in which a change to this set shows: for the watch.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter(|(_, stat)| stat.directory).map(|(path, _)| path.as_path())
    }

    fn read(&self) -> Result<Contents, Unreadable> {
        let mut total = 0;
        let files = self.0.iter().filter(|(_, stat)| !stat.directory);
        files
            .map(|(path, stat)| {
                let content = if stat.regular { read_file(path) } else { read_stream(path) };
                let content = content.map_err(|error| unreadable(path, describe(&error)))?;
                total += content.len();
                if total > MAX_TOTAL {
                    let problem =
                        "with it the files hold more than 64 MiB; leave out what this workload does not need";
                    return Err(unreadable(path, problem.to_owned()));
                }
                Ok((path.clone(), content))
            })
            .collect()
    }

    /// How much longer to leave the set alone; zero when it has rested for `quiet`.
    fn unrest(&self, quiet: Duration) -> Duration {
        let newest = self.0.iter().map(|(_, stat)| stat.changed).max().unwrap_or(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.as_nanos() as i128 - newest;
        match age {
            // A clock that was set back must not stop the world: the look after reading still compares.
            ..0 => Duration::ZERO,
            age => quiet.saturating_sub(Duration::from_nanos(age.try_into().unwrap_or(u64::MAX))),
        }
    }
}

/// A file's content, in one allocation that is wiped when dropped: it may be a private key.
///
/// # Errors
/// It cannot be read, is no regular file (a pipe could be waited for for ever), or holds more than 10 MiB.
pub fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let regular = |metadata: fs::Metadata| match metadata.file_type() {
        kind if kind.is_file() => Ok(metadata),
        kind if kind.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "a directory; name a file")),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file; name one that is")),
    };
    // Before it is opened, since that may wait; and once more, since it may have been replaced.
    regular(fs::metadata(path)?)?;
    let mut file = File::open(path)?;
    let size = regular(file.metadata()?)?.len();
    if size > MAX_BYTES {
        return Err(too_large());
    }
    // What is added meanwhile is a change, which will be read then.
    let mut content = Zeroizing::new(vec![0; usize::try_from(size).map_err(|_| too_large())?]);
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}

/// What a pipe brings until its end.
fn read_stream(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES { Err(too_large()) } else { Ok(content) }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "larger than 10 MiB; split the file")
}

enum Attempt {
    Read(Files),
    Wait(Duration),
}

fn attempt(paths: &[PathBuf], quiet: Duration) -> Result<Attempt, Unreadable> {
    let before = fingerprint(paths)?;
    if let Some((path, _)) = before.0.iter().find(|(_, stat)| !stat.directory && !stat.regular) {
        return Err(unreadable(path, "not a regular file, so it cannot be watched".to_owned()));
    }
    let unrest = before.unrest(quiet);
    if !unrest.is_zero() {
        return Ok(Attempt::Wait(unrest));
    }
    let contents = before.read()?;
    match fingerprint(paths)? == before {
        true => Ok(Attempt::Read(Files { contents, fingerprint: before })),
        false => Ok(Attempt::Wait(quiet)),
    }
}

/// Adds `path` and what is below. Names that start with a dot are skipped: Kubernetes keeps the versions of a mounted
/// volume under `..data`, editors their swap files.
fn list(path: &Path, depth: usize, named: bool, into: &mut Vec<(PathBuf, Stat)>) -> Result<(), Unreadable> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, describe(&error)))?;
    let stat = Stat::of(&metadata);
    if !metadata.is_dir() {
        if named || is_resource(path) {
            // One that is named may be linted; one that lies around would be waited for for ever.
            if !named && !stat.regular {
                return Err(unreadable(path, "not a regular file; remove it".to_owned()));
            }
            into.push((path.to_owned(), stat));
        }
        return Ok(());
    }
    if depth == 0 {
        return Err(unreadable(path, "nested too deeply; is a symbolic link pointing upwards?".to_owned()));
    }
    into.push((path.to_owned(), stat));
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| unreadable(path, describe(&error)))?;
    let mut below: Vec<_> = entries
        .into_iter()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .collect();
    below.sort();
    below.iter().try_for_each(|path| list(path, depth - 1, false, into))
}

fn is_resource(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn unreadable(path: &Path, problem: String) -> Unreadable {
    Unreadable { path: path.to_owned(), problem }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied; this user cannot read it".to_owned(),
        _ => error.to_string(),
    }
}

impl Stat {
    fn of(metadata: &fs::Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            directory: metadata.is_dir(),
            regular: metadata.is_file(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        let content = read_file(&at("link")).unwrap();
        assert_eq!((content.as_slice(), content.capacity()), (&b"text"[..], 4));
        for (path, problem) in [
            (at("pipe"), "not a regular file; name one that is"),
            ("/dev/zero".into(), "not a regular file; name one that is"),
            (at("."), "a directory; name a file"),
        ] {
            assert_eq!(read_file(&path).unwrap_err().to_string(), problem);
        }
        fs::File::create(at("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read_file(&at("large")).unwrap_err().to_string(), "larger than 10 MiB; split the file");
    }
}
