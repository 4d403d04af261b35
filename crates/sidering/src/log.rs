//! What goes to standard error, from which level on; and the refusals in it: a line for each while they are few, else how
//! many were left out. The control thread reads the records once a second, so that no core ever waits for a log.

use std::io;
use std::time::Duration;

use sidering_proxy::{Proxy, Record, Seen};
use tokio::time::{MissedTickBehavior, interval};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::admin::sentence;

/// What is logged, which can be changed.
#[derive(Clone)]
pub(crate) struct Logging(Handle<EnvFilter, Registry>);

impl Logging {
    /// `RUST_LOG` chooses what; `info` and above unless it does.
    pub(crate) fn to_stderr() -> Self {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let (filter, handle) = reload::Layer::new(filter);
        let lines = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
        tracing_subscriber::registry().with(filter).with(lines).init();
        Self(handle)
    }

    /// As `RUST_LOG` would say it.
    pub(crate) fn filter(&self) -> String {
        self.0.with_current(ToString::to_string).expect("the subscriber lives as long as the process")
    }

    /// From now on everything from that level on, and nothing else.
    pub(crate) fn set(&self, level: LevelFilter) {
        let filter = EnvFilter::new(level.to_string());
        self.0.reload(filter).expect("the subscriber lives as long as the process");
    }
}

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Lines in each.
const LINES: usize = 10;

/// For as long as the sidecar runs.
pub(crate) async fn refusals(proxy: Proxy) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        looks.tick().await;
        let (records, lost) = proxy.records_since(&mut seen);
        lines(&records, lost).iter().for_each(|line| tracing::warn!("{line}"));
    }
}

fn lines(records: &[Record], lost: u64) -> Vec<String> {
    let told = records.iter().take(LINES);
    let mut lines: Vec<String> = told
        .map(|record| format!("{} [{}, record {}]", sentence(record), record.reason.name(), record.id))
        .collect();
    match lost + records.len().saturating_sub(LINES) as u64 {
        0 => {}
        more => lines.push(format!("{more} more were left out, see `sidering explain`")),
    }
    lines
}
