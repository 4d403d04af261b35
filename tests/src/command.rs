//! Other people's programs as clients: curl and openssl, which share no code with ours. One that is missing fails
//! the test.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::Files;

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Asserts exit code 0 and gives the standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|why| panic!("{why}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs a program to its end with `input` on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|why| panic!("the tests need {name}: {why}"));
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A program that does not read its input, or ended, is none of our business here.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `curl ARGUMENTS`, silent but for errors, over before the test loses patience.
pub fn curl(arguments: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "20"]).args(arguments);
    run(&mut command, b"")
}

/// `openssl ARGUMENTS`.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Finished {
    run(Command::new("openssl").args(arguments), input)
}

/// `openssl s_client` straight at a server: sends `input`, then ends with the server's answer. `certificate` is what
/// it presents; it believes any server, because the tests ask what the server believes.
pub fn s_client(server: SocketAddr, certificate: Option<&Files>, more: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-connect", &server.to_string(), "-ign_eof"]).args(more);
    if let Some(files) = certificate {
        command.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
        command.arg("-CAfile").arg(&files.bundle);
    }
    run(&mut command, input)
}
