//! `explain --follow`: each new record's prose as it comes, by asking once a second; a sidecar that is started anew is
//! followed on.

use std::path::Path;

use hyper::Method;
use serde::Deserialize;
use tokio::signal::ctrl_c;
use tokio::time::{Duration, sleep};

use super::{Answer, ask, block_on, unreachable};
use crate::cli::Asking;
use crate::failure::Failure;

/// Between two questions.
const STEP: Duration = Duration::from_secs(1);

/// Where one has come to.
#[derive(Default)]
struct Place {
    /// Of the sidecar whose records these are.
    started: Option<String>,
    /// The newest id of each core.
    seen: Vec<u64>,
    /// It does not answer.
    lost: bool,
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

/// Until SIGINT. What is on record already is not told.
pub(super) fn follow(wanted: &[String], asking: &Asking) -> Result<(), Failure> {
    let socket = asking.socket()?;
    block_on(async {
        let mut place = Place::default();
        place.newer(&socket, &[]).await.map_err(|why| unreachable(&socket, &why))?;
        eprintln!("following {}", socket.display());
        tokio::select! {
            () = place.follow(&socket, wanted, asking) => {}
            _ = ctrl_c() => {}
        }
        Ok(())
    })
}

impl Place {
    async fn follow(&mut self, socket: &Path, wanted: &[String], asking: &Asking) {
        loop {
            sleep(STEP).await;
            match self.newer(socket, wanted).await {
                Ok(ids) => {
                    for id in ids {
                        let told = ask(socket, Method::GET, &asking.formed(&format!("/explain/{id}"))).await;
                        // It may be overwritten, or its sidecar gone: the next question finds out.
                        if let Some(told) = told.ok().and_then(|answer| answer.good().ok()) {
                            println!("{told}\n");
                        }
                    }
                    if std::mem::take(&mut self.lost) {
                        eprintln!("{} answers again", socket.display());
                    }
                }
                Err(why) if !self.lost => {
                    self.lost = true;
                    eprintln!("{}: {why}; waiting until it answers", socket.display());
                }
                Err(_) => {}
            }
        }
    }

    /// Ids of records that came since, oldest first.
    async fn newer(&mut self, socket: &Path, wanted: &[String]) -> Result<Vec<u64>, String> {
        let (mut started, mut numbered) = self.ask(socket, wanted).await?;
        if self.started.is_some() && self.started != started {
            eprintln!("{} was started anew: its records begin anew", socket.display());
            self.seen.clear();
            (started, numbered) = self.ask(socket, wanted).await?;
        }
        self.started = started;
        let ids: Vec<u64> = numbered.into_iter().map(|Numbered { id }| id).collect();
        for &id in &ids {
            match self.seen.iter_mut().find(|seen| **seen >> 48 == id >> 48) {
                Some(seen) => *seen = id.max(*seen),
                None => self.seen.push(id),
            }
        }
        Ok(ids)
    }

    async fn ask(&self, socket: &Path, wanted: &[String]) -> Result<(Option<String>, Vec<Numbered>), String> {
        let seen: Vec<String> = self.seen.iter().map(ToString::to_string).collect();
        let path = format!("/decisions?since={}&{}", seen.join(","), wanted.join("&"));
        let Answer { status, started, body } = ask(socket, Method::GET, &path).await?;
        if !status.is_success() {
            return Err(body);
        }
        Ok((started, serde_json::from_str(&body).map_err(|error| error.to_string())?))
    }
}
