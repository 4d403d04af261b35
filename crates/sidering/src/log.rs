//! Refusals in the log: a line for each, as long as there are few; else how many were left out. Read from the records
//! once a second by the control thread, so that no core ever waits for a log.

use std::time::Duration;

use sidering_proxy::{Proxy, Record, Seen};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::sentence;

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
