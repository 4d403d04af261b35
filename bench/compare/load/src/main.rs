//! Everything the comparison needs besides the proxies: load generators, the backend they end at, a source and sink of
//! bytes, and bare relays as the bound of what a proxy can reach. Each prints one line of JSON. run.py starts them.

mod args;
mod backend;
mod bulk;
mod client;
mod connection;
mod epoll;
mod relay;
mod window;

use std::process::ExitCode;

use args::Args;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // So that requests of a fixed rate leave on time.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let run = match command.as_str() {
        "requests" => client::requests,
        "handshakes" => client::handshakes,
        "idle" => client::idle,
        "backend" => backend::run,
        "bulk" => bulk::run,
        "relay" => relay::run,
        _ => {
            eprintln!("usage: load requests|handshakes|idle|backend|bulk|relay [--KEY VALUE]...");
            return ExitCode::from(2);
        }
    };
    match Args::parse(words).and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load {command}: {error}");
            ExitCode::FAILURE
        }
    }
}
