//! `sidering version`: what this binary can do on this machine.

use sidering_net::{Driver, DriverChoice, probe};
use sidering_tls::Backend;

use crate::cli::Output;
use crate::failure::Failure;

/// Prints it.
pub(crate) fn print(output: Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let backends: Vec<String> = Backend::compiled().iter().map(Backend::to_string).collect();
    let drivers: Vec<String> = drivers().iter().map(Driver::to_string).collect();
    let auto = probe(DriverChoice::Auto).map_err(|failure| Failure::Environment(failure.to_string()))?;
    match output {
        Output::Text => {
            println!("sidering {version}");
            println!("tls backends: {}", backends.join(", "));
            println!("drivers: {} (auto takes {})", drivers.join(", "), auto.why);
        }
        Output::Json => {
            let value = serde_json::json!({
                "version": version,
                "backends": backends,
                "drivers": drivers,
                "auto": {"driver": auto.driver.to_string(), "why": auto.why},
            });
            println!("{value:#}");
        }
    }
    Ok(())
}

/// Those that really run here.
fn drivers() -> Vec<Driver> {
    let choices = [DriverChoice::IoUring, DriverChoice::Epoll];
    choices.into_iter().filter_map(|choice| probe(choice).ok()).map(|probed| probed.driver).collect()
}
