//! Bytes through a proxy in one direction. The source sends pages of one file and the sink drops what arrives, neither
//! copies: what is measured is the proxy.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::net::RecvFlags;
use serde_json::json;

use crate::Result;
use crate::args::Args;
use crate::window::{self, Window};

const CHUNK: usize = 1 << 20;

pub fn run(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(args.required("sink")?)?;
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counter = counter.clone();
            thread::spawn(move || drop_all(&stream, &counter));
        }
    });
    let mut file = File::from(rustix::fs::memfd_create("source", MemfdFlags::CLOEXEC)?);
    file.write_all(&vec![b'z'; CHUNK])?;
    let connections = args.number("connections", 8)?;
    // Of all together, in bytes per second; without it as fast as they come.
    let pace = match args.number("rate", 0.0)? {
        0.0 => Duration::ZERO,
        rate => Duration::from_secs_f64(CHUNK as f64 * f64::from(connections) / rate),
    };
    for _ in 0..connections {
        let stream = TcpStream::connect(args.required("target")?)?;
        let file = file.try_clone()?;
        thread::spawn(move || send(&stream, &file, pace));
    }
    thread::sleep(args.seconds("warm", 1.0)?);
    let (window, before, begin) = (Window::open(args)?, received.load(Ordering::Relaxed), Instant::now());
    thread::sleep(args.seconds("seconds", 4.0)?);
    let (bytes, elapsed) = (received.load(Ordering::Relaxed) - before, begin.elapsed().as_secs_f64());
    let rate = bytes as f64 * 8.0 / elapsed / 1e9;
    window::print([window.close()?, window::object(json!({ "bytes": bytes, "gbit_per_s": rate }))]);
    Ok(())
}

fn drop_all(stream: &TcpStream, counter: &AtomicU64) {
    let mut unused = vec![0; CHUNK];
    while let Ok((_, length @ 1..)) = rustix::net::recv(stream, &mut unused[..], RecvFlags::TRUNC) {
        counter.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// One chunk after the other, each not before it is due.
fn send(stream: &TcpStream, file: &File, pace: Duration) {
    let mut due = Instant::now();
    loop {
        let mut sent = 0;
        while sent < CHUNK as u64 {
            let left = CHUNK - sent as usize;
            let Ok(1..) = rustix::fs::sendfile(stream, file, Some(&mut sent), left) else { return };
        }
        due += pace;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
