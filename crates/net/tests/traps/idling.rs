//! Connections that wait cost memory, not time.

use std::io::Write;
use std::net::TcpStream as Peer;
use std::time::Duration;

use sidering_net::{now, sleep_until, spawn_local, yield_now};
use tokio::io::AsyncReadExt;

use crate::support::{ThreadClock, listener, on_both_drivers_alone, run};

/// How often this thread went to sleep so far.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

on_both_drivers_alone! {
    /// 1,000 that never said anything, and 200 that sent half of what is awaited.
    fn idle_and_half_sent_connections_cost_no_cpu(driver, 4096 descriptors) {
        run(driver, async {
            let (mut listener, address) = listener();
            let mut peers = Vec::new();
            for number in 0..1_200 {
                let mut peer = Peer::connect(address).unwrap();
                let (mut ours, _) = listener.accept().await.unwrap();
                spawn_local(async move {
                    let mut whole = [0; 2];
                    ours.read_exact(&mut whole).await.unwrap();
                });
                if number % 6 == 0 {
                    peer.write_all(b"h").unwrap();
                }
                peers.push(peer);
            }
            for _ in 0..10 {
                yield_now().await;
            }
            let mut clock = ThreadClock::new();
            let (slept, spent) = (sleeps(), clock.elapsed());
            sleep_until(now() + Duration::from_millis(500)).await;
            let (slept, spent) = (sleeps() - slept, clock.elapsed() - spent);
            // The timer is one; a hundred would be far from one per connection.
            assert!(slept < 100, "woken {slept} times");
            assert!(spent < Duration::from_millis(50), "{spent:?} of CPU time");
        });
    }
}
