//! The admin endpoints on the control thread. The Unix socket takes everything, from this user and root only; TCP on
//! loopback reads; the stats and readiness addresses serve one path each. Answers are JSON, or text with `?as=text`.

mod advice;
mod certs;
mod config_dump;
pub(crate) mod decisions;
mod explain;
mod latency;
mod listen;
mod logging;
mod metrics;
mod status;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State as Shared};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::bootstrap::Admin;
use crate::failure::Failure;
use crate::state::State;

pub(crate) use explain::sentence;
pub(crate) use listen::SocketFile;

type Sidecar = Shared<Arc<State>>;

/// Binds every address and serves it until the runtime ends. The socket's file goes when the value does.
///
/// # Errors
/// [`Failure::Configuration`] for an address or a path that cannot be had.
pub(crate) async fn serve(admin: &Admin, state: &Arc<State>) -> Result<Option<SocketFile>, Failure> {
    let reading = reading();
    let routes = |router: Router<Arc<State>>| router.with_state(Arc::clone(state));
    if let Some(address) = &admin.address {
        let local = routes(reading.clone()).layer(middleware::from_fn(check_host));
        listen::tcp("admin.address", address, local).await?;
    }
    if let Some(address) = &admin.stats {
        listen::tcp(
            "stats.address",
            address,
            routes(Router::new().route("/stats/prometheus", get(prometheus))),
        )
        .await?;
    }
    if let Some(address) = &admin.readiness {
        listen::tcp("readiness.address", address, routes(Router::new().route("/healthz/ready", get(ready))))
            .await?;
    }
    match &admin.socket {
        Some(path) => Ok(Some(listen::unix(path, routes(reading.merge(changing()))).await?)),
        None => Ok(None),
    }
}

fn reading() -> Router<Arc<State>> {
    Router::new()
        .route("/ready", get(ready))
        .route("/healthz/ready", get(ready))
        .route("/live", get(|| async { "live\n" }))
        .route("/status", get(show_status))
        .route("/decisions", get(decisions::decisions))
        .route("/explain", get(decisions::all))
        .route("/explain/{which}", get(decisions::one))
        .route("/latency", get(show_latency))
        .route("/certs", get(show_certs))
        .route("/config_dump", get(config_dump::answer))
        .route("/version", get(|| async { axum::Json(json!({"version": env!("CARGO_PKG_VERSION")})) }))
        .route("/stats/prometheus", get(prometheus))
}

/// On the Unix socket only, where the peer's user is known.
fn changing() -> Router<Arc<State>> {
    Router::new()
        .route("/drain", post(drain))
        .route("/reload", post(reload))
        .route("/logging", get(logging::show).post(logging::set))
        .route("/quitquitquit", post(quit))
        .layer(middleware::from_fn(listen::check_peer))
}

/// `?as=text` is how the command line asks.
#[derive(Deserialize)]
struct Form {
    r#as: Option<String>,
}

impl Form {
    fn answer(&self, value: Value, text: impl FnOnce() -> String) -> Response {
        match self.r#as.as_deref() {
            Some("text") => text().into_response(),
            _ => format_json(&value),
        }
    }
}

fn format_json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value:#}")).into_response()
}

async fn ready(Shared(state): Sidecar) -> (StatusCode, String) {
    match state.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn show_status(Shared(state): Sidecar, Query(form): Query<Form>) -> Response {
    let value = status::json(&state);
    let text = status::text(&value);
    form.answer(value, || text)
}

async fn show_latency(Shared(state): Sidecar, Query(form): Query<Form>) -> Response {
    let latencies = state.setup.proxy.metrics().latencies;
    form.answer(latency::json(&latencies), || latency::text(&latencies))
}

async fn show_certs(Shared(state): Sidecar, Query(form): Query<Form>) -> Response {
    let shown = certs::Certs::of(&state.identity());
    form.answer(json!(shown), || shown.text())
}

async fn prometheus(Shared(state): Sidecar) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&state)).into_response()
}

async fn drain(Shared(state): Sidecar) -> Response {
    match spawn_blocking(move || state.drain()).await {
        Ok(true) => "drained".into_response(),
        Ok(false) => "time is up: the last connections were aborted".into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Answers when every source has looked: with the problems, if the last good state had to stay.
async fn reload(Shared(state): Sidecar) -> Response {
    state.reload().await;
    let mut problems = state.resources().problems;
    problems.extend(state.identity().problem);
    match problems.is_empty() {
        true => format!("snapshot {} is in force", state.resources().version.0).into_response(),
        false => (StatusCode::CONFLICT, problems.join("\n")).into_response(),
    }
}

/// Answers before it drains: nobody would wait for the end of the process here.
async fn quit(Shared(state): Sidecar) -> &'static str {
    state.end();
    "draining, then it ends\n"
}

/// A browser that was talked into resolving somebody's name to this address sends that name (DNS rebinding).
async fn check_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    match host.is_some_and(names_this_machine) {
        true => next.run(request).await,
        false => (StatusCode::MISDIRECTED_REQUEST, "the Host header must be `localhost` or an IP address\n")
            .into_response(),
    }
}

fn names_this_machine(host: &str) -> bool {
    let authority: Option<Uri> = format!("http://{host}/").parse().ok();
    let name = authority.as_ref().and_then(|uri| uri.host());
    name.is_some_and(|name| name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_cannot_be_rebound_are_answered() {
        for own in ["localhost", "localhost:15000", "127.0.0.1:15000", "[::1]:15000", "10.0.0.1"] {
            assert!(names_this_machine(own), "{own}");
        }
        for foreign in ["", "evil.example", "localhost.evil.example:15000", "127.0.0.1.evil.example", "a b"] {
            assert!(!names_this_machine(foreign), "{foreign}");
        }
    }
}
