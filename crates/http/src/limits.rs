//! What one connection may cost. Chosen by the caller; `Default` documents the values of a sidecar.

use std::time::Duration;

/// Limits on heads, bodies and patience. `Duration::MAX` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, start line and final CRLF included. 60 KiB, as Envoy.
    pub head_bytes: usize,
    /// Headers in a head. 100, as Envoy; above 128 counts as 128.
    pub headers: usize,
    /// Bytes of a chunk size line, extensions included. 256.
    pub chunk_line_bytes: usize,
    /// Bytes of a trailer section. 8 KiB.
    pub trailer_bytes: usize,
    /// Bytes of an unread request body that are drained after an early response, to keep the connection. 64 KiB.
    pub drain_bytes: u64,
    /// From the first byte of a head to its last. 60 s.
    pub head: Duration,
    /// Between two exchanges on a kept connection, and before the first. 1 h, as Envoy.
    pub idle: Duration,
    /// Without any progress of a body that somebody waits for, in either direction. 5 min.
    pub body: Duration,
    /// For the peer to take the last bytes and close, once we are done. 2 s.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 60 * 1024,
            headers: 100,
            chunk_line_bytes: 256,
            trailer_bytes: 8 * 1024,
            drain_bytes: 64 * 1024,
            head: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            body: Duration::from_secs(300),
            linger: Duration::from_secs(2),
        }
    }
}
