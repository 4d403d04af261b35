//! The sidecar: command line, bootstrap file and wiring; logic lives in the crates below.
#![forbid(unsafe_code)]

mod admin;
mod bootstrap;
mod ca;
mod check;
mod cli;
mod client;
mod demo;
mod duration;
mod failure;
mod lint;
mod log;
mod offline;
mod remedies;
mod run;
mod state;
mod version;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Arguments, Command};
use crate::failure::Failure;
use crate::log::Logging;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let logging = Logging::to_stderr();
    match execute(Arguments::parse().command, logging) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sidering: {failure}");
            failure.code()
        }
    }
}

fn execute(command: Command, logging: Logging) -> Result<(), Failure> {
    match command {
        Command::Run { config, parent } => run::run(&config, parent, logging),
        Command::Demo(options) => tell(&options),
        Command::Lint { paths, output } => lint::lint(&paths, output),
        Command::Check { files, junit, output } => check::check(&files, junit.as_deref(), output),
        Command::Explain(explain) => match &explain.offline {
            Some(paths) => offline::explain(paths, &explain),
            None => client::explain(&explain),
        },
        Command::Status { latency, asking } => {
            client::print(if latency { "/latency" } else { "/status" }, &asking)
        }
        Command::Certs(asking) => client::print("/certs", &asking),
        Command::Drain(asking) => client::drain(&asking),
        Command::Wait { timeout, asking } => client::wait(timeout.0, &asking),
        Command::Ca(ca::Command::Init(arguments)) => ca::init(&arguments),
        Command::Ca(ca::Command::Issue(arguments)) => ca::issue(&arguments),
        Command::Version { output } => version::print(output),
    }
}

fn tell(options: &demo::Options) -> Result<(), Failure> {
    match demo::run(options).map_err(Failure::Findings)? {
        true => Ok(()),
        false => Err(Failure::Findings("not everything held".to_owned())),
    }
}
