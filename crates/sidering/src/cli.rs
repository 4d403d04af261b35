//! The command line as typed. What the flags mean is decided by whoever is given them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sidering_proxy::Reason;

use crate::ca;
use crate::demo;
use crate::duration::Written;

/// A thread-per-core sidecar proxy with Istio-grade mutual TLS.
///
/// Exit codes: 0 ok; 1 findings or failed; 2 usage or invalid configuration; 3 proxy unreachable;
/// 4 environment not supported; 124 `wait` timed out.
#[derive(Parser)]
#[command(name = "sidering", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the sidecar.
    Run {
        /// The bootstrap file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Ends like on SIGTERM when its parent, which has that id, has ended: for the demo.
        #[arg(long, value_name = "PID", hide = true)]
        parent: Option<u32>,
    },
    /// Tell the story of Istio mutual TLS on this machine with real sidecars; exits 0 if every step held.
    Demo(demo::Options),
    /// Parse and validate Istio YAML; findings are printed as file:line:col.
    Lint {
        /// Files or directories.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Run policy tests against Istio YAML, offline; exits 0 if all passed.
    Check {
        /// Test files, such as orders.test.yaml.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also write a JUnit report there.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Say why a connection or request was refused, and what would have let it pass.
    Explain(Explain),
    /// Show the state of a running sidecar.
    Status {
        /// Where its time goes, part by part, since it started.
        #[arg(long)]
        latency: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Show the certificates in use and when they expire.
    Certs(Asking),
    /// Let current connections finish and take no new ones; the sidecar stays until it is terminated.
    Drain(Asking),
    /// Wait until the sidecar is ready.
    Wait {
        /// Give up after that long.
        #[arg(long, default_value = "60s", value_name = "DURATION")]
        timeout: Written,
        #[command(flatten)]
        asking: Asking,
    },
    /// The embedded certificate authority.
    #[command(subcommand)]
    Ca(ca::Command),
    /// Print the version, the TLS backends compiled in and the drivers that run here.
    Version {
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// What to explain: one record, those that fit, or each as it comes.
#[derive(Args)]
pub(crate) struct Explain {
    /// `last`, or the id of a record [default: last].
    #[arg(value_name = "last|ID", conflicts_with_all = ["peer", "reason", "follow"])]
    pub(crate) which: Option<String>,
    /// What has that address on one side: of the client, the destination or the upstream.
    #[arg(long, value_name = "IP[:PORT]", value_parser = peer)]
    pub(crate) peer: Option<String>,
    /// What has that reason, as docs/reasons.md names it.
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(reasons()), hide_possible_values = true)]
    pub(crate) reason: Option<String>,
    /// Go on with each new record as it comes, until interrupted.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Ask the files and directories of Istio YAML instead of a sidecar, about what the other options of this list say;
    /// without PATH those of --config.
    #[arg(
        long, value_name = "PATH", num_args = 0.., help_heading = OFFLINE,
        conflicts_with_all = ["which", "peer", "reason", "follow", "socket"], requires_all = ["from", "to", "port"],
    )]
    pub(crate) offline: Option<Vec<PathBuf>>,
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) question: Question,
}

const OFFLINE: &str = "Offline";

/// A connection or request that has not been made.
#[derive(Args)]
#[command(next_help_heading = OFFLINE)]
pub(crate) struct Question {
    /// MeshConfig fields; else those of --config.
    #[arg(long, value_name = "FILE", requires = "offline")]
    pub(crate) mesh: Option<PathBuf>,
    /// Who asks.
    #[arg(long, value_name = "NAMESPACE/SERVICEACCOUNT|SPIFFE-ID", requires = "offline")]
    pub(crate) from: Option<String>,
    /// For which host.
    #[arg(long, value_name = "HOST", requires = "offline")]
    pub(crate) to: Option<String>,
    /// At which of its service ports.
    #[arg(long, requires = "offline")]
    pub(crate) port: Option<u16>,
    /// GET unless told otherwise; like the path and a header it says that HTTP is spoken where no port does.
    #[arg(long, requires = "offline")]
    pub(crate) method: Option<String>,
    /// / unless told otherwise.
    #[arg(long, requires = "offline")]
    pub(crate) path: Option<String>,
    /// May be given several times.
    #[arg(long, value_name = "NAME:VALUE", value_parser = header, requires = "offline")]
    pub(crate) header: Vec<(String, String)>,
    /// The client has no sidecar.
    #[arg(long, requires = "offline")]
    pub(crate) plaintext: bool,
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write it as name:value")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn peer(text: &str) -> Result<String, &'static str> {
    match text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("it is no address; write it as 10.0.0.1 or 10.0.0.1:8080"),
    }
}

fn reasons() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.name())
}

/// Whom to ask, and in which form to print the answer.
#[derive(Args)]
pub(crate) struct Asking {
    /// The sidecar's admin socket [default: the bootstrap file's, or /run/sidering/admin.sock].
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The sidecar's bootstrap file.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) config: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_does_not_exist_yet_is_not_listed() {
        let help = Arguments::command().render_long_help().to_string();
        for absent in ["capture", "preflight", "migrate"] {
            assert!(!help.contains(&format!("\n  {absent}")), "{absent}");
        }
    }
}
