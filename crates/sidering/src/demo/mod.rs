//! `sidering demo`: the story of Istio mutual TLS on this machine, told by real sidecars (child processes of this
//! binary) with the embedded CA and configs/demo. Every step says what held; the exit code says whether all did.

mod client;
mod files;
mod load;
mod origin;
mod partner;
mod report;
mod sidecar;
mod stage;
mod story;

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::json;
use sidering_tls::Backend;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Output;
use report::Step;
use sidecar::Children;
use stage::Stage;

/// How the demo is run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave it running at the end and print what to try.
    #[arg(long)]
    keep: bool,
    /// TLS library of every sidecar [default: the preferred one of those compiled in].
    #[arg(long, value_name = "BACKEND")]
    tls_backend: Option<Backend>,
    /// Driver of every sidecar.
    #[arg(long, default_value = "auto", value_parser = ["auto", "io_uring", "epoll"])]
    driver: String,
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Tells the whole story; true when everything held. Blocks until the end, with `keep` until a signal. Whatever ends
/// it, no sidecar is left behind. To be called on the main thread: sidecars end with the thread that started them.
///
/// # Errors
/// When the stage cannot be set, standard output is gone, or a signal came before the end.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let children = Children::default();
    let outcome = tell(options, &children);
    children.end();
    outcome
}

fn tell(options: &Options, children: &Children) -> Result<bool, String> {
    let interrupted = end_on_signal(children.clone())?;
    let backend = options.tls_backend.or_else(|| Backend::compiled().first().copied());
    let backend = backend.ok_or("no TLS library is compiled in")?;
    let mut stage = Stage::set(backend, &options.driver, children)?;
    let json = options.output == Output::Json;
    let mut told = Vec::new();
    for (number, (name, title, tell)) in story::STEPS.iter().enumerate() {
        let mut step = Step::new(name, title);
        if let Err(problem) = tell(&mut stage, &mut step) {
            step.check(problem, false);
        }
        if interrupted.try_recv().is_ok() {
            return Err("interrupted".into());
        }
        if !json {
            print(&step.text(number + 1))?;
        }
        told.push(step);
    }
    let held = told.iter().all(Step::held);
    print(&summary(&told, held, json))?;
    if options.keep {
        print(&story::what_to_try(&stage))?;
        // The other end is only ever gone together with this process.
        let _ = interrupted.recv();
    }
    Ok(held)
}

fn summary(told: &[Step], held: bool, json: bool) -> String {
    if json {
        let steps: Vec<_> = told.iter().map(Step::json).collect();
        return format!("{:#}\n", json!({"held": held, "steps": steps}));
    }
    match told.iter().filter(|step| !step.held()).count() {
        0 => format!("\nAll {} steps held.\n", told.len()),
        failed => format!("\n{failed} of {} steps FAILED.\n", told.len()),
    }
}

/// On SIGINT or SIGTERM ends the sidecars and says so: a step that waits for one of them then fails at once.
fn end_on_signal(children: Children) -> Result<Receiver<()>, String> {
    let (sender, interrupted) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(text)?, signal(SignalKind::terminate()).map_err(text)?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        children.end();
        // Nobody listens when the demo has just ended by itself.
        let _ = sender.send(());
    });
    Ok(interrupted)
}

fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
