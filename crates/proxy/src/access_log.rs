//! The access log: an entry per request and per opaque connection, formatted and written by a thread of its own. A
//! worker only hands the entry over; if the thread cannot keep up, entries are dropped and counted.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::{AccessLog, LogFormat, Reason};

/// One line. The fields are Envoy's, in the order of Istio's text format; then ours.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    #[serde(serialize_with = "rfc3339")]
    pub(crate) start_time: SystemTime,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) response_code: u16,
    pub(crate) response_flags: &'static str,
    pub(crate) response_code_details: Option<String>,
    pub(crate) connection_termination_details: Option<String>,
    pub(crate) upstream_transport_failure_reason: Option<String>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Milliseconds.
    pub(crate) duration: u64,
    /// Milliseconds until the response's head.
    pub(crate) upstream_service_time: Option<u64>,
    pub(crate) x_forwarded_for: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) upstream_host: Option<String>,
    pub(crate) upstream_cluster: Option<String>,
    pub(crate) upstream_local_address: Option<String>,
    pub(crate) downstream_local_address: String,
    pub(crate) downstream_remote_address: String,
    pub(crate) requested_server_name: Option<String>,
    pub(crate) route_name: Option<String>,

    pub(crate) direction: &'static str,
    pub(crate) connection_id: u64,
    pub(crate) reason: Option<Reason>,
    /// The rule that allowed or denied it: `kind ns/name[rule] (file:line:column)`.
    pub(crate) policy: Option<String>,
    /// The dry-run rule that would have denied it, in the same form.
    pub(crate) would_deny: Option<String>,
    pub(crate) source_principal: Option<String>,
    pub(crate) destination_principal: Option<String>,
    /// How the upstream's name was checked.
    pub(crate) naming: Option<&'static str>,
    pub(crate) downstream_tls: Option<TlsEntry>,
    pub(crate) upstream_tls: Option<TlsEntry>,
}

/// What was agreed on one leg.
#[derive(Debug, Serialize)]
pub(crate) struct TlsEntry {
    version: String,
    cipher: String,
    group: Option<String>,
    alpn: Option<String>,
    resumed: bool,
    /// Of the peer's certificate.
    peer_serial: Option<String>,
}

impl TlsEntry {
    pub(crate) fn new(tls: &sidering_tls::Handshake, peer_serial: Option<&str>) -> Self {
        Self {
            version: tls.version.to_string(),
            cipher: tls.cipher.to_string(),
            group: tls.group.as_deref().map(str::to_owned),
            alpn: tls.alpn.as_deref().map(str::to_owned),
            resumed: tls.resumed,
            peer_serial: peer_serial.map(str::to_owned),
        }
    }
}

/// A worker's end.
#[derive(Clone)]
pub(crate) struct Sink {
    entries: SyncSender<Box<Entry>>,
    dropped: Arc<AtomicU64>,
}

/// The writing thread; it ends when every sink is gone.
pub(crate) struct Writer {
    thread: JoinHandle<()>,
    dropped: Arc<AtomicU64>,
}

/// Entries that may wait for the thread.
const WAITING: usize = 8192;

/// Opens the log and starts its thread.
pub(crate) fn open(log: &AccessLog) -> io::Result<(Sink, Writer)> {
    let mut out = BufWriter::with_capacity(64 * 1024, destination(&log.path)?);
    let (entries, waiting) = sync_channel(WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let format = log.format;
    let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || {
        if let Err(error) = write_all(&mut out, &waiting, format) {
            tracing::error!(%error, "the access log cannot be written any more");
        }
    })?;
    Ok((Sink { entries, dropped: dropped.clone() }, Writer { thread, dropped }))
}

impl Sink {
    /// Hands an entry over; never blocks.
    pub(crate) fn write(&self, entry: Box<Entry>) {
        if self.entries.try_send(entry).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Writer {
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until everything is written. The sinks must be gone.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the access log's thread panicked");
        }
    }
}

/// The standard streams are not opened by path: where they are sockets, that fails.
fn destination(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    Ok(match path.to_str() {
        Some("/dev/stdout") => Box::new(io::stdout()),
        Some("/dev/stderr") => Box::new(io::stderr()),
        _ => Box::new(OpenOptions::new().append(true).create(true).open(path)?),
    })
}

/// Flushes whenever nothing is waiting, so that a line is never late.
fn write_all(out: &mut impl Write, waiting: &Receiver<Box<Entry>>, format: LogFormat) -> io::Result<()> {
    while let Ok(first) = waiting.recv() {
        write_one(out, &first, format)?;
        while let Ok(next) = waiting.try_recv() {
            write_one(out, &next, format)?;
        }
        out.flush()?;
    }
    Ok(())
}

fn write_one(out: &mut impl Write, entry: &Entry, format: LogFormat) -> io::Result<()> {
    match format {
        LogFormat::Istio => out.write_all(text(entry).as_bytes()),
        LogFormat::Json => {
            entry.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Ascii))?;
            out.write_all(b"\n")
        }
    }
}

/// JSON in which everything that a terminal might act on is escaped: serde_json does so for control characters alone,
/// but not for those that turn the direction of what follows.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        for part in fragment.split_inclusive(|c: char| !c.is_ascii() || c == '\u{7f}') {
            let last = part.chars().next_back().filter(|c| !c.is_ascii() || *c == '\u{7f}');
            let plain = part.len() - last.map_or(0, char::len_utf8);
            out.write_all(&part.as_bytes()[..plain])?;
            for unit in last.iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// Istio's default format (`EnvoyTextLogFormat` in its telemetry code).
pub(crate) fn text(e: &Entry) -> String {
    let mut line = String::with_capacity(512);
    let _ = write!(line, "[{}] \"", timestamp(e.start_time));
    let _ = write!(line, "{} {} {}\" ", or_dash(&e.method), or_dash(&e.path), e.protocol.unwrap_or("-"));
    let _ = write!(line, "{} {} ", e.response_code, e.response_flags);
    let _ = write!(
        line,
        "{} {} \"{}\" ",
        or_dash(&e.response_code_details),
        or_dash(&e.connection_termination_details),
        or_dash(&e.upstream_transport_failure_reason)
    );
    let _ = write!(line, "{} {} {} ", e.bytes_received, e.bytes_sent, e.duration);
    match e.upstream_service_time {
        Some(time) => _ = write!(line, "{time} "),
        None => line.push_str("- "),
    }
    for quoted in [&e.x_forwarded_for, &e.user_agent, &e.request_id, &e.authority, &e.upstream_host] {
        let _ = write!(line, "\"{}\" ", or_dash(quoted));
    }
    let _ = writeln!(
        line,
        "{} {} {} {} {} {}",
        or_dash(&e.upstream_cluster),
        or_dash(&e.upstream_local_address),
        e.downstream_local_address,
        e.downstream_remote_address,
        or_dash(&e.requested_server_name),
        or_dash(&e.route_name)
    );
    line
}

/// A client's text, with whatever could break the line or mislead its reader escaped.
fn or_dash(value: &Option<String>) -> String {
    let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { return "-".into() };
    if value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\')) {
        return value.to_owned();
    }
    value.escape_default().collect()
}

const RFC3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

fn timestamp(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(RFC3339).unwrap_or_else(|_| "-".into())
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
}

#[cfg(test)]
mod tests;
