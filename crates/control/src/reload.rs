//! When a source looks at its files without a sign of change: somebody asks it to and learns when it has (SIGHUP,
//! `POST /reload`, tests), or what was refused is tried again.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How often what was refused is tried again, and said again.
pub(crate) const REPEAT: Duration = Duration::from_secs(30);

/// Asks one source; held by the binary.
#[derive(Clone, Debug)]
pub struct Reload(mpsc::Sender<oneshot::Sender<()>>);

/// The source's end.
#[derive(Debug)]
pub struct Reloads(mpsc::Receiver<oneshot::Sender<()>>);

impl Reload {
    /// A pair of ends.
    pub fn channel() -> (Reload, Reloads) {
        let (sender, receiver) = mpsc::channel(8);
        (Reload(sender), Reloads(receiver))
    }

    /// Returns when the source has read its files anew and what they hold was published or refused; at once when the
    /// source is gone.
    pub async fn now(&self) {
        let (done, finished) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            // An error means that the source ended meanwhile: nobody is left to reload.
            let _ = finished.await;
        }
    }
}

impl Reloads {
    /// The next request; dropping the value answers it. Waits for ever when nobody can ask any more.
    pub(crate) async fn asked(&mut self) -> oneshot::Sender<()> {
        match self.0.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

/// When to try again. Whatever else wakes the source in between does not put it off.
#[derive(Default)]
pub(crate) struct Retry(Option<Instant>);

impl Retry {
    /// After each attempt.
    pub(crate) fn note(&mut self, refused: bool) {
        self.0 = refused.then(|| Instant::now() + REPEAT);
    }

    /// Returns when it is time, if the last attempt was refused.
    pub(crate) async fn due(&self) {
        match self.0 {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
