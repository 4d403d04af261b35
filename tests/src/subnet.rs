//! A loopback /24 for each test, so that resources can name fixed ports and addresses are identities.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// 127.a.b.0/24, no other test of this process has it, and no other process is likely to.
#[derive(Clone, Copy, Debug)]
pub struct Subnet {
    third: u8,
    second: u8,
}

impl Subnet {
    /// The next one.
    #[expect(clippy::new_without_default, reason = "each is another: nothing about it is a default")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // 127.0.x is everybody's, 127.77.x the demo's; a process takes up to 256 in a row.
        let number = std::process::id().wrapping_mul(256) + NEXT.fetch_add(1, Ordering::Relaxed);
        let [.., second, third] = number.to_be_bytes();
        Self { second: 1 + second % 76, third }
    }

    /// 127.a.b.`host`.
    pub fn ip(self, host: u8) -> IpAddr {
        Ipv4Addr::new(127, self.second, self.third, host).into()
    }

    /// 127.a.b.`host`:`port`.
    pub fn address(self, host: u8, port: u16) -> SocketAddr {
        (self.ip(host), port).into()
    }
}

/// A port of that address which nothing listens on: it was bound and let go, and addresses belong to one test.
pub fn free_port(ip: IpAddr) -> u16 {
    let listener = TcpListener::bind((ip, 0)).expect("a loopback address can be bound");
    listener.local_addr().expect("a bound socket has an address").port()
}
