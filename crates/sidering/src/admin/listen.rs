//! Binding the admin addresses, serving them so that no client is in the way of another, and who may speak on the Unix
//! socket.

use std::collections::VecDeque;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sidering_policy::Position;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// Connections open at a time on one address. Descriptors belong to the data path, which has the same process.
const CONNECTIONS: usize = 64;
/// How long a client may take to send a request, its first or the next.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The socket in the file system; dropping it removes the file.
pub(crate) struct SocketFile(PathBuf);

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    allowed: bool,
}

/// Serves a router on a TCP address; `key` and position are the bootstrap file's, for the error.
pub(super) async fn tcp(
    key: &str,
    (address, position): &(SocketAddr, Position),
    router: Router,
) -> Result<(), Failure> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| cannot(position, key, address, &error))?;
    tokio::spawn(serve(listener, move |_| router.clone()));
    Ok(())
}

/// Serves a router on a Unix socket that only this user can open. The socket of a process that is gone is replaced.
pub(super) async fn unix(
    (path, position): &(PathBuf, Position),
    router: Router,
) -> Result<SocketFile, Failure> {
    let listener = bind(path).map_err(|error| cannot(position, "admin.socket", &path.display(), &error))?;
    let file = SocketFile(path.to_owned());
    tokio::spawn(serve(listener, move |stream| router.clone().layer(Extension(Peer::of(stream)))));
    Ok(file)
}

/// Serves every connection with what `router` makes of it. When there are too many the oldest has to go: waiting for
/// one to end would let idle clients keep everybody else out.
async fn serve<L: Listener>(mut listener: L, router: impl Fn(&L::Io) -> Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME);
    let mut open: VecDeque<JoinHandle<_>> = VecDeque::new();
    loop {
        let (stream, _) = listener.accept().await;
        open.retain(|connection| !connection.is_finished());
        if open.len() == CONNECTIONS {
            open.pop_front().inspect(JoinHandle::abort);
        }
        let service = TowerToHyperService::new(router(&stream));
        open.push_back(tokio::spawn(http.serve_connection(TokioIo::new(stream), service)));
    }
}

/// Lets only this user and root change anything, whatever the file's mode has become.
pub(super) async fn check_peer(Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    match peer.allowed {
        true => next.run(request).await,
        false => {
            (StatusCode::FORBIDDEN, "only the sidecar's own user and root may do this\n").into_response()
        }
    }
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let own = fs::metadata("/proc/self").map(|own| own.uid());
        let peer = stream.peer_cred().map(|peer| peer.uid());
        Self { allowed: own.is_ok_and(|own| peer.is_ok_and(|peer| may_change(own, peer))) }
    }
}

/// Whose processes change a sidecar's state: those of its own user, and root's. Whoever it is must be known.
fn may_change(own: u32, peer: u32) -> bool {
    peer == own || peer == 0
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it"));
        }
        fs::remove_file(path)?;
    }
    // Made under another name and restricted before anybody can find it.
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let listener = UnixListener::bind(&fresh)?;
    let restricted = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600));
    restricted.and_then(|()| fs::hard_link(&fresh, path)).and(fs::remove_file(&fresh))?;
    Ok(listener)
}

fn cannot(position: &Position, key: &str, address: &dyn Display, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; choose another port or path, or stop what holds it",
        io::ErrorKind::NotFound => "; make its directory first",
        _ => "",
    };
    Failure::Configuration(format!("{position}: {key}: cannot listen on {address}: {error}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_user_and_root_change_anything() {
        assert!(may_change(1337, 1337) && may_change(1337, 0));
        assert!(!may_change(1337, 1000) && !may_change(0, 1337));
    }
}
