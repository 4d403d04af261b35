//! `/decisions` and `/explain`: the records that are kept, those that are asked for, and what is said to them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sidering_proxy::{Reason, Record};
use tokio::task::spawn_blocking;

use super::explain::Explained;
use super::{Form, Sidecar};
use crate::state::State;

/// How many are explained where nobody says.
const EXPLAINED: usize = 20;

/// Which records, and in which form.
#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    r#as: Option<String>,
    /// At most that many, the newest.
    last: Option<usize>,
    /// The id of a record, or of one for each core, with commas between: only newer ones of the same core.
    since: Option<String>,
    /// An address, with or without port: of the client, the destination or the upstream.
    peer: Option<String>,
    reason: Option<String>,
}

impl Wanted {
    /// Those that are kept, oldest first.
    fn records(&self, state: &State) -> Result<Vec<Record>, Box<Response>> {
        let wrong = |message: String| Box::new((StatusCode::BAD_REQUEST, message).into_response());
        if let Some(name) = self.reason.as_deref().filter(|name| reason(name).is_none()) {
            return Err(wrong(format!("no reason is called {name:?}")));
        }
        let since = self.since.as_deref().unwrap_or_default().split(',').filter(|id| !id.is_empty());
        let since: Vec<u64> = since
            .map(|id| id.parse().map_err(|_| wrong(format!("{id:?} is no id of a record"))))
            .collect::<Result<_, _>>()?;
        let mut records = state.setup.proxy.records();
        records.retain(|record| self.takes(record) && is_newer(record.id, &since));
        let more = records.len().saturating_sub(self.last.unwrap_or(usize::MAX));
        records.drain(..more);
        Ok(records)
    }

    fn takes(&self, record: &Record) -> bool {
        self.peer.as_deref().is_none_or(|peer| concerns(record, peer))
            && self.reason.as_deref().is_none_or(|name| record.reason.name() == name)
    }

    fn form(&self) -> Form {
        Form { r#as: self.r#as.clone() }
    }
}

/// The reason of that name.
pub(crate) fn reason(name: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.name() == name)
}

/// Ids of different cores say nothing of each other.
fn is_newer(id: u64, since: &[u64]) -> bool {
    since.iter().all(|seen| seen >> 48 != id >> 48 || id > *seen)
}

/// Is that address on one side of it?
fn concerns(record: &Record, peer: &str) -> bool {
    let upstream = record.upstream.as_deref().and_then(|upstream| upstream.parse().ok());
    let mut addresses = [record.peer, record.destination, upstream].into_iter().flatten();
    match (peer.parse::<SocketAddr>(), peer.parse::<IpAddr>()) {
        (Ok(whole), _) => addresses.any(|address| address == whole),
        (_, Ok(ip)) => addresses.any(|address| address.ip() == ip),
        _ => record.upstream.as_deref() == Some(peer),
    }
}

pub(super) async fn decisions(Shared(state): Sidecar, Query(wanted): Query<Wanted>) -> Response {
    match wanted.records(&state) {
        Ok(records) => {
            let text = || records.iter().map(super::explain::sentence).collect::<Vec<_>>().join("\n");
            let answer = wanted.form().answer(json!(records), text);
            ([("sidering-started", state.started.to_string())], answer).into_response()
        }
        Err(wrong) => *wrong,
    }
}

pub(super) async fn all(Shared(state): Sidecar, Query(wanted): Query<Wanted>) -> Response {
    let last = Some(wanted.last.unwrap_or(EXPLAINED));
    let filtered = wanted.peer.is_some() || wanted.reason.is_some();
    let wanted = Wanted { last, ..wanted };
    let mut records = match wanted.records(&state) {
        Ok(records) if records.is_empty() && filtered => {
            return (StatusCode::NOT_FOUND, "nothing like that is on record; only the latest are kept")
                .into_response();
        }
        Ok(records) => records,
        Err(wrong) => return *wrong,
    };
    records.reverse();
    let told = told(state, records).await;
    let (values, texts): (Vec<Value>, Vec<String>) = told.into_iter().unzip();
    wanted.form().answer(values.into(), || texts.join("\n\n"))
}

pub(super) async fn one(
    Shared(state): Sidecar,
    Path(which): Path<String>,
    Query(form): Query<Form>,
) -> Response {
    let records = state.setup.proxy.records();
    let found = match which.as_str() {
        "last" => records.into_iter().next_back(),
        id => records.into_iter().find(|record| id.parse() == Ok(record.id)),
    };
    match (found, which.as_str()) {
        (Some(record), _) => match told(state, vec![record]).await.pop() {
            Some((value, text)) => form.answer(value, || text),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        (None, "last") => {
            (StatusCode::NOT_FOUND, "nothing was refused since this sidecar started").into_response()
        }
        (None, _) => {
            (StatusCode::NOT_FOUND, format!("no record {which:?}; only the latest are kept")).into_response()
        }
    }
}

/// Each as JSON and as prose. Not on the control thread: asking again takes a while in a big mesh.
async fn told(state: Arc<State>, records: Vec<Record>) -> Vec<(Value, String)> {
    let ask = move || {
        let (snapshot, roots) =
            (state.setup.proxy.snapshot(), super::certs::Certs::of(&state.identity()).roots());
        let one = |record| {
            let explained = Explained::of(record, &snapshot, &roots);
            (explained.json(), explained.prose())
        };
        records.iter().map(one).collect()
    };
    spawn_blocking(ask).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn ids_are_compared_within_their_core() {
        let of = |core: u64, number: u64| core << 48 | number;
        let seen = [of(0, 7), of(2, 3)];
        for (id, newer) in
            [(of(0, 7), false), (of(0, 8), true), (of(1, 1), true), (of(2, 3), false), (of(2, 9), true)]
        {
            assert_eq!(is_newer(id, &seen), newer, "{id}");
        }
        assert!(is_newer(1, &[]));
    }
}
