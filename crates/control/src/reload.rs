//! How somebody asks a source to look at its files now, and learns when it has: SIGHUP, `POST /reload`, tests.

use tokio::sync::{mpsc, oneshot};

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
