//! `sidering demo`: the story of Istio mutual TLS on this machine, told by real sidecars (child processes of this
//! binary) with the embedded CA and configs/demo. Every step says what held; the exit code says whether all did.

mod client;
mod files;
mod load;
mod origin;
mod report;
mod sidecar;
mod stage;
mod story;

use std::io::{self, Write};

use serde_json::json;

use report::Step;
use stage::Stage;

/// How the demo is run.
pub(crate) struct Options<'a> {
    /// Leave it running at the end, and say what to try.
    pub(crate) keep: bool,
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// `tls.backend` of every sidecar.
    pub(crate) backend: &'a str,
    /// `runtime.driver` of every sidecar.
    pub(crate) driver: &'a str,
}

/// Tells the whole story; true when everything held. Blocks until the end, with `keep` until Ctrl-C.
///
/// # Errors
/// When the stage cannot be set, or standard output is gone.
pub(crate) fn run(options: &Options<'_>) -> Result<bool, String> {
    let mut stage = Stage::set(options.backend, options.driver)?;
    let mut told = Vec::new();
    for (number, (name, title, tell)) in story::STEPS.iter().enumerate() {
        let mut step = Step::new(name, title);
        if let Err(problem) = tell(&mut stage, &mut step) {
            step.check(problem, false);
        }
        if !options.json {
            print(&step.text(number + 1))?;
        }
        told.push(step);
    }
    let held = told.iter().all(Step::held);
    if options.json {
        let steps: Vec<_> = told.iter().map(Step::json).collect();
        print(&format!("{:#}\n", json!({"held": held, "steps": steps})))?;
    } else {
        let failed = told.iter().filter(|step| !step.held()).count();
        print(&match failed {
            0 => format!("\nAll {} steps held.\n", told.len()),
            _ => format!("\n{failed} of {} steps FAILED.\n", told.len()),
        })?;
    }
    if options.keep {
        print(&story::what_to_try(&stage))?;
        wait_for_interrupt().map_err(|error| error.to_string())?;
    }
    Ok(held)
}

fn wait_for_interrupt() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c())
}

fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}
