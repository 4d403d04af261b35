//! The commands that ask a running sidecar: a small HTTP client on its admin socket. The sidecar renders every answer,
//! for people or as JSON; here it is printed.

mod follow;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::bootstrap;
use crate::cli::{Asking, Explain, Output};
use crate::failure::Failure;

/// Where a sidecar listens unless somebody says otherwise.
const DEFAULT_SOCKET: &str = "/run/sidering/admin.sock";
/// A sidecar that takes longer to answer is as good as gone.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A drain takes as long as its deadline; no drain takes longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(24 * 3600);
/// Between two looks while waiting.
const WAIT_STEP: Duration = Duration::from_millis(50);

/// `status` and `certs`.
pub(crate) fn print(path: &str, asking: &Asking) -> Result<(), Failure> {
    let answer = asking.ask(Method::GET, path, ANSWER_TIME)?;
    println!("{}", answer.good()?);
    Ok(())
}

/// `explain`: findings when there is no such record.
pub(crate) fn explain(explain: &Explain) -> Result<(), Failure> {
    let wanted = [("peer", &explain.peer), ("reason", &explain.reason)];
    let wanted: Vec<String> =
        wanted.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_deref()?))).collect();
    if explain.follow {
        return follow::follow(&wanted, &explain.asking);
    }
    match explain.which.as_deref() {
        None if !wanted.is_empty() => print(&format!("/explain?{}", wanted.join("&")), &explain.asking),
        which => {
            let which = which.unwrap_or("last");
            if which != "last" && which.parse::<u64>().is_err() {
                return Err(Failure::Findings(format!(
                    "no record {which:?}: write `last`, or the number of a record"
                )));
            }
            print(&format!("/explain/{which}"), &explain.asking)
        }
    }
}

/// `drain`: returns when it has drained.
pub(crate) fn drain(asking: &Asking) -> Result<(), Failure> {
    let answer = asking.ask(Method::POST, "/drain", DRAIN_TIME)?;
    println!("{}", answer.good()?);
    Ok(())
}

/// `wait`: until the sidecar says that it is ready; one that is not there yet is waited for as well.
pub(crate) fn wait(patience: Duration, asking: &Asking) -> Result<(), Failure> {
    let socket = asking.socket()?;
    block_on(async {
        let deadline = Instant::now() + patience;
        let mut last = String::new();
        while Instant::now() < deadline {
            match timeout(ANSWER_TIME, ask(&socket, Method::GET, "/ready")).await {
                Ok(Ok(answer)) if answer.status == StatusCode::OK => return Ok(()),
                Ok(Ok(answer)) => last = answer.body,
                Ok(Err(failure)) => last = failure,
                Err(_) => last = "no answer".to_owned(),
            }
            sleep(WAIT_STEP).await;
        }
        Err(Failure::TimedOut(format!("not ready after {patience:?}: {last}")))
    })
}

struct Answer {
    status: StatusCode,
    /// When the sidecar started, where it says so.
    started: Option<String>,
    body: String,
}

impl Answer {
    fn good(self) -> Result<String, Failure> {
        match self.status.is_success() {
            true => Ok(self.body),
            false => Err(Failure::Findings(self.body)),
        }
    }
}

impl Asking {
    fn socket(&self) -> Result<PathBuf, Failure> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(config)) => bootstrap::socket_of(config),
            (None, None) => Ok(PathBuf::from(DEFAULT_SOCKET)),
        }
    }

    fn ask(&self, method: Method, path: &str, patience: Duration) -> Result<Answer, Failure> {
        let socket = self.socket()?;
        let path = self.formed(path);
        block_on(async {
            let answer = timeout(patience, ask(&socket, method, &path)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer".to_owned()));
            answer.map_err(|why| unreachable(&socket, &why))
        })
    }

    fn formed(&self, path: &str) -> String {
        let sign = if path.contains('?') { '&' } else { '?' };
        match self.output {
            Output::Text => format!("{path}{sign}as=text"),
            Output::Json => path.to_owned(),
        }
    }
}

fn unreachable(socket: &Path, why: &str) -> Failure {
    let advice = "is the sidecar running, with `admin.socket` in its bootstrap file?";
    Failure::Unreachable(format!("{}: {why}; {advice}", socket.display()))
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Environment(format!("no runtime: {error}")))?.block_on(future)
}

async fn ask(socket: &Path, method: Method, path: &str) -> Result<Answer, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let started = response.headers().get("sidering-started");
        let started = started.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status, started, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::select! {
        answer = exchange => answer,
        // The connection ends without an error when the answer is complete; the exchange then has it.
        Err(error) = connection => Err(error.to_string()),
    }
}
