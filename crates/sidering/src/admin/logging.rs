//! `/logging`: what goes to the log, read and changed while the sidecar runs. The next start has `RUST_LOG` again.

use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::Sidecar;

#[derive(Deserialize)]
pub(super) struct Wanted {
    level: String,
}

pub(super) async fn show(Shared(state): Sidecar) -> String {
    state.setup.logging.filter() + "\n"
}

pub(super) async fn set(
    Shared(state): Sidecar,
    Query(wanted): Query<Wanted>,
) -> Result<String, (StatusCode, &'static str)> {
    let level = match wanted.level.as_str() {
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => return Err((StatusCode::BAD_REQUEST, "level is debug, info, warn or error\n")),
    };
    state.setup.logging.set(level);
    Ok(state.setup.logging.filter() + "\n")
}
