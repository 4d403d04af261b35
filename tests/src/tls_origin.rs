//! An upstream that speaks TLS itself: `openssl s_server`, which shares no code with ours and answers every request
//! with a page about the connection.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::{Files, free_port};

/// A running s_server; killed when dropped.
pub struct TlsOrigin {
    address: SocketAddr,
    child: Child,
}

impl TlsOrigin {
    /// Presents that leaf to anybody.
    pub fn start(ip: std::net::IpAddr, leaf: &Files) -> Self {
        Self::spawn(ip, leaf, &[])
    }

    /// Presents that leaf, and insists on a client certificate from the leaf's own authority.
    pub fn mutual(ip: std::net::IpAddr, leaf: &Files) -> Self {
        Self::spawn(ip, leaf, &["-Verify", "1", "-verify_return_error"])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn spawn(ip: std::net::IpAddr, leaf: &Files, more: &[&str]) -> Self {
        let address = SocketAddr::from((ip, free_port(ip)));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", &address.to_string()]).args(more);
        command
            .arg("-cert")
            .arg(&leaf.certificate)
            .arg("-key")
            .arg(&leaf.key)
            .arg("-CAfile")
            .arg(&leaf.bundle);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|why| panic!("the tests need openssl: {why}"));
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("ACCEPT"));
        assert!(ready, "openssl s_server does not listen on {address}");
        // Its pipe must not fill.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, child }
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
