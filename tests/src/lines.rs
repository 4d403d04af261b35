//! What a child process prints, kept line by line, so that a test can wait for a line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::PATIENCE;

/// What a child has printed, one line at a time.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    pub(crate) fn read(from: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = lines.0.clone();
        thread::spawn(move || {
            let (printed, changed) = &*shared;
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                printed.lock().expect("no holder panics").lines.push(line);
                changed.notify_all();
            }
            printed.lock().expect("no holder panics").ended = true;
            changed.notify_all();
        });
        lines
    }

    pub(crate) fn count(&self) -> usize {
        self.0.0.lock().expect("no holder panics").lines.len()
    }

    pub(crate) fn text(&self) -> String {
        let printed = self.0.0.lock().expect("no holder panics");
        printed.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The first line, printed or to come, that `pick` takes.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.wait_from(0, what, pick)
    }

    /// The same, of the lines behind so many.
    #[track_caller]
    pub(crate) fn wait_from<T>(&self, mut from: usize, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.0.0.lock().expect("no holder panics").lines[from..].to_vec();
            if let Some(found) = lines.iter().find_map(|line| pick(line)) {
                return found;
            }
            from += lines.len();
            assert!(self.wait_beyond(from, deadline), "it never said {what}:\n{}", self.text());
        }
    }

    /// Waits until there are more lines than `count`; false when there will be none or time is up.
    pub(crate) fn wait_beyond(&self, count: usize, deadline: Instant) -> bool {
        let (printed, changed) = &*self.0;
        let left = deadline.saturating_duration_since(Instant::now());
        let (printed, _) = changed
            .wait_timeout_while(printed.lock().expect("no holder panics"), left, |printed| {
                printed.lines.len() <= count && !printed.ended
            })
            .expect("no holder panics");
        printed.lines.len() > count
    }

    #[track_caller]
    pub(crate) fn wait_end(&self, name: &str) {
        let (printed, changed) = &*self.0;
        let (printed, timeout) = changed
            .wait_timeout_while(printed.lock().expect("no holder panics"), PATIENCE, |printed| !printed.ended)
            .expect("no holder panics");
        assert!(!timeout.timed_out(), "{name} does not end:\n{}", printed.lines.join("\n"));
    }
}
