//! A sidecar of the demo: a child process of this very binary, watched through what it prints and asked through the
//! command line, as an operator would.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing that the demo waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of what a sidecar said is shown when something went wrong.
const TAIL: usize = 12;

/// Every sidecar that was started: whoever holds this can end them all, also from another thread.
#[derive(Clone, Default)]
pub(super) struct Children(Arc<Mutex<Vec<Child>>>);

/// One of them.
pub(super) struct Sidecar {
    name: &'static str,
    directory: PathBuf,
    log: Receiver<String>,
    messages: Receiver<String>,
    tail: VecDeque<String>,
}

impl Sidecar {
    /// Starts `NAME.yaml` of the directory.
    pub(super) fn start(name: &'static str, directory: &Path, children: &Children) -> Result<Self, String> {
        let mut command = this_binary()?;
        command.current_dir(directory).args(["run", "--config", &format!("{name}.yaml")]);
        // It ends with this process, even one that is killed.
        command.args(["--parent", &std::process::id().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        let log = lines(child.stdout.take().expect("stdout is piped"));
        let messages = lines(child.stderr.take().expect("stderr is piped"));
        children.0.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        Ok(Self { name, directory: directory.into(), log, messages, tail: VecDeque::new() })
    }

    /// Waits until it says that it is ready.
    pub(super) fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.next_message(deadline)?.contains("ready") {}
        Ok(())
    }

    /// `sidering status`.
    pub(super) fn status(&self) -> Result<Value, String> {
        self.ask(&["status"])
    }

    /// Asks `status` after each message until it fits.
    pub(super) fn wait_status(&mut self, fits: impl Fn(&Value) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !fits(&self.status()?) {
            self.next_message(deadline)?;
        }
        Ok(())
    }

    /// The latest refusal, once it is for that reason: its peer may know a moment before it is on record, and its
    /// access log line comes after.
    pub(super) fn refusal(&mut self, reason: &str) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(record) = self.ask(&["explain", "last"])
                && record["reason"] == reason
            {
                return Ok(record);
            }
            self.next_log(deadline)?;
        }
    }

    /// The next line of the access log that fits.
    pub(super) fn logged(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.next_log(deadline)?;
            if let Ok(entry) = serde_json::from_str(&line)
                && fits(&entry)
            {
                return Ok(entry);
            }
        }
    }

    fn ask(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut command = this_binary()?;
        command.current_dir(&self.directory).args(arguments).args(["-o", "json"]);
        command.args(["--socket", &format!("run/{}.sock", self.name)]);
        let output = command.output().map_err(|error| error.to_string())?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            format!("{} {arguments:?}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim())
        })
    }

    fn next_log(&self, deadline: Instant) -> Result<String, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.log.recv_timeout(left).map_err(|error| self.silent(error))
    }

    fn next_message(&mut self, deadline: Instant) -> Result<String, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.messages.recv_timeout(left).map_err(|error| self.silent(error))?;
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        Ok(line)
    }

    fn silent(&self, why: RecvTimeoutError) -> String {
        let said = self.tail.iter().map(|line| format!("\n    {line}")).collect::<String>();
        match why {
            RecvTimeoutError::Timeout => {
                format!("{} kept silent for too long; it last said:{said}", self.name)
            }
            RecvTimeoutError::Disconnected => format!("{} has ended; it last said:{said}", self.name),
        }
    }
}

impl Children {
    /// Ends them all and waits until they have ended.
    pub(super) fn end(&self) {
        for mut child in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that has ended by itself needs no ending.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn this_binary() -> Result<Command, String> {
    let path = std::env::current_exe().map_err(|error| format!("cannot find this executable: {error}"))?;
    Ok(Command::new(path))
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Read on when nobody listens any more: a full pipe would stop the sidecar.
        BufReader::new(from).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    receiver
}
