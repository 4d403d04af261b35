//! The load generators: requests on kept connections, handshakes, and connections that only stay.

use std::collections::VecDeque;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Result;
use crate::args::Args;
use crate::connection::{Connection, Progress, Target};
use crate::epoll::Epoll;
use crate::window::{self, Window};

/// How long answers are waited for after the end of a run at a fixed rate.
const GRACE: Duration = Duration::from_secs(5);
/// Connections that `idle` opens at once.
const OPENING: usize = 32;

/// Requests on `--connections` kept connections: as fast as answers come, or at `--rate` per second. At a rate request k
/// is due at k/rate whatever has come back by then, its latency counts from there, and those due in the window are
/// waited for: a slow proxy does not hide what it delayed.
pub fn requests(args: &Args) -> Result<()> {
    let mut clients = Clients::connect(args, 64)?;
    let rate: f64 = args.number("rate", 0.0)?;
    let begin = Instant::now();
    let start = begin + args.seconds("warm", 1.0)?;
    let end = start + args.seconds("seconds", 4.0)?;
    let (mut window, mut figures) = (None, None);
    let (mut latencies, mut errors, mut sent) = (Vec::with_capacity(1 << 20), 0, 0_u64);
    let due = |request: u64| begin + Duration::from_secs_f64(request as f64 / rate);
    loop {
        let now = Instant::now();
        if window.is_none() && now >= start {
            window = Some(Window::open(args)?);
        }
        if let (Some(window), None) = (&window, &figures)
            && now >= end
        {
            figures = Some(window.close()?);
        }
        let all_sent = rate == 0.0 || due(sent) >= end;
        let owed =
            rate > 0.0 && now < end + GRACE && (!all_sent || clients.free.len() < clients.connections.len());
        if figures.is_some() && !owed {
            break;
        }

        let mut wake = [start, end, end + GRACE].into_iter().find(|time| *time > now).unwrap_or(now);
        while let Some(&client) = clients.free.front() {
            let due = if rate > 0.0 { due(sent) } else { now };
            if due >= end || due > now {
                wake = wake.min(due.max(now));
                break;
            }
            clients.free.pop_front();
            sent += 1;
            if clients.connections[client].send(due).is_err() {
                errors += 1;
                clients.reconnect(client)?;
            }
        }

        for (client, answer) in clients.wait(wake.saturating_duration_since(Instant::now()))? {
            let connection = &clients.connections[client];
            let counts =
                if rate > 0.0 { connection.due >= start } else { window.is_some() && figures.is_none() };
            match answer {
                Some(good) => {
                    if counts {
                        latencies.push(connection.due.elapsed());
                        errors += u64::from(!good);
                    }
                    clients.free.push_back(client);
                }
                None => {
                    errors += 1;
                    clients.reconnect(client)?;
                }
            }
        }
    }
    let expected = if rate > 0.0 { ((end - start).as_secs_f64() * rate) as usize } else { latencies.len() };
    let counts = window::object(json!({
        "requests": latencies.len(),
        "per_s": latencies.len() as f64 / (end - start).as_secs_f64(),
        "errors": errors,
        "unanswered": expected.saturating_sub(latencies.len() + 1),
    }));
    window::print([counts, figures.unwrap_or_default(), window::percentiles(latencies)]);
    Ok(())
}

/// Connects, shakes hands, has one request answered (which proves that the proxy took our certificate) and closes; with
/// `--resume 1` by session ticket.
pub fn handshakes(args: &Args) -> Result<()> {
    let mut clients = Clients::connect(args, 16)?;
    let start = Instant::now() + args.seconds("warm", 1.0)?;
    let end = start + args.seconds("seconds", 4.0)?;
    let mut window = None;
    let (mut times, mut errors, mut resumed) = (Vec::new(), 0, 0);
    loop {
        let now = Instant::now();
        if window.is_none() && now >= start {
            window = Some(Window::open(args)?);
        }
        if now >= end {
            break;
        }
        while let Some(client) = clients.free.pop_front() {
            let connection = &mut clients.connections[client];
            let opened = connection.due;
            if connection.send(opened).is_err() {
                errors += 1;
                clients.reconnect(client)?;
            }
        }
        for (client, answer) in clients.wait(end - now)? {
            let connection = &clients.connections[client];
            match answer {
                Some(true) if window.is_some() => {
                    times.push(connection.due.elapsed());
                    resumed += u64::from(connection.resumed());
                }
                Some(true) => {}
                _ => errors += 1,
            }
            clients.reconnect(client)?;
        }
    }
    let counts = window::object(json!({
        "handshakes": times.len(),
        "per_s": times.len() as f64 / (end - start).as_secs_f64(),
        "resumed": resumed,
        "errors": errors,
    }));
    let figures = window.map(|window| window.close()).transpose()?;
    window::print([counts, figures.unwrap_or_default(), window::percentiles(times)]);
    Ok(())
}

/// Opens `--connections`, has one request answered on each, says so, and keeps them until standard input ends.
pub fn idle(args: &Args) -> Result<()> {
    let wanted: usize = args.number("connections", 1000)?;
    let mut clients = Clients::new(args)?;
    let (mut answered, mut errors) = (0, 0);
    while answered + errors < wanted {
        while clients.connections.len() < wanted.min(answered + errors + OPENING) {
            clients.open()?;
        }
        while let Some(client) = clients.free.pop_front() {
            errors += usize::from(clients.connections[client].send(Instant::now()).is_err());
        }
        for (_, answer) in clients.wait(Duration::from_secs(1))? {
            match answer {
                Some(true) => answered += 1,
                _ => errors += 1,
            }
        }
    }
    window::print([window::object(json!({ "idle": answered, "errors": errors }))]);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Clients {
    target: Target,
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Ready, and with no request outstanding.
    free: VecDeque<usize>,
    /// Not ready yet.
    shaking: Vec<bool>,
    buffer: Vec<u8>,
}

impl Clients {
    fn new(args: &Args) -> Result<Self> {
        Ok(Self {
            target: Target::parse(args)?,
            epoll: Epoll::new()?,
            connections: Vec::new(),
            free: VecDeque::new(),
            shaking: Vec::new(),
            buffer: vec![0; 16 << 10],
        })
    }

    fn connect(args: &Args, default: usize) -> Result<Self> {
        let mut clients = Self::new(args)?;
        for _ in 0..args.number("connections", default)? {
            clients.open()?;
        }
        while clients.free.len() < clients.connections.len() {
            if !clients.wait(GRACE)?.is_empty() {
                return Err("a connection ended before its first request".into());
            }
        }
        Ok(clients)
    }

    fn open(&mut self) -> Result<()> {
        let connection = self.target.connect()?;
        let client = self.connections.len();
        self.connections.push(connection);
        self.shaking.push(true);
        self.opened(client)
    }

    /// In the place of one that has ended.
    fn reconnect(&mut self, client: usize) -> Result<()> {
        self.free.retain(|free| *free != client);
        std::mem::replace(&mut self.connections[client], self.target.connect()?).close();
        self.opened(client)
    }

    fn opened(&mut self, client: usize) -> Result<()> {
        let connection = &self.connections[client];
        self.epoll.add(&connection.stream, client)?;
        self.shaking[client] = !connection.ready();
        if connection.ready() {
            self.free.push_back(client);
        }
        Ok(())
    }

    /// Who has an answer, and whether it is good; `None` for whose connection has ended.
    fn wait(&mut self, timeout: Duration) -> Result<Vec<(usize, Option<bool>)>> {
        let mut answers = Vec::new();
        for (client, _) in self.epoll.wait(Some(timeout))? {
            let connection = &mut self.connections[client];
            match connection.receive(&mut self.buffer) {
                Ok(Progress::Answered(good)) => answers.push((client, Some(good))),
                Ok(Progress::Closed) | Err(_) => answers.push((client, None)),
                Ok(Progress::Pending) => {}
            }
            if self.shaking[client] && connection.ready() {
                self.shaking[client] = false;
                self.free.push_back(client);
            }
        }
        Ok(answers)
    }
}
