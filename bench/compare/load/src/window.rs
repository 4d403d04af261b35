//! The measured part of a run: CPU time of the proxies, of the load generator with its backend, and of the cores;
//! and the percentiles of what was timed.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::args::Args;

pub struct Window {
    proxies: Vec<u32>,
    loads: Vec<u32>,
    begin: Instant,
    before: Sample,
}

struct Sample {
    proxies: Duration,
    loads: Duration,
    cores: Vec<Core>,
}

struct Core {
    busy: f64,
    stolen: f64,
}

impl Window {
    /// `--proxies` and `--backends` name processes; our own CPU time counts as load.
    pub fn open(args: &Args) -> Result<Self> {
        let processes = |key| -> Result<Vec<u32>> {
            let text = args.text(key).unwrap_or_default();
            Ok(text
                .split(',')
                .filter(|id| !id.is_empty())
                .map(str::parse)
                .collect::<std::result::Result<_, _>>()?)
        };
        let proxies = processes("proxies")?;
        let mut loads = processes("backends")?;
        loads.push(std::process::id());
        let before = Sample::take(&proxies, &loads)?;
        Ok(Self { proxies, loads, begin: Instant::now(), before })
    }

    /// Figures since `open`; the cores are those of the machine, in order.
    pub fn close(&self) -> Result<Map<String, Value>> {
        let (wall, now) = (self.begin.elapsed().as_secs_f64(), Sample::take(&self.proxies, &self.loads)?);
        let share = |figure: fn(&Core) -> f64| -> Vec<f64> {
            now.cores
                .iter()
                .zip(&self.before.cores)
                .map(|(now, before)| (figure(now) - figure(before)) / wall)
                .collect()
        };
        Ok(object(json!({
            "wall_s": wall,
            "cpu_s": (now.proxies - self.before.proxies).as_secs_f64(),
            "load_s": (now.loads - self.before.loads).as_secs_f64(),
            "busy": share(|core| core.busy),
            "stolen": share(|core| core.stolen),
        })))
    }
}

impl Sample {
    fn take(proxies: &[u32], loads: &[u32]) -> Result<Self> {
        Ok(Self { proxies: cpu_time(proxies)?, loads: cpu_time(loads)?, cores: cores()? })
    }
}

/// Of the threads that live; exact to the nanosecond, where /proc/PID/stat counts ticks.
fn cpu_time(processes: &[u32]) -> Result<Duration> {
    let mut nanoseconds = 0;
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn cores() -> Result<Vec<Core>> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let text = fs::read_to_string("/proc/stat")?;
    let mut cores = Vec::new();
    for line in text.lines().skip(1).take_while(|line| line.starts_with("cpu")) {
        let fields: Vec<f64> =
            line.split(' ').skip(1).map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = fields[..] else {
            return Err("/proc/stat: fields are missing".into());
        };
        cores.push(Core { busy: (user + nice + system + irq + softirq) / ticks, stolen: stolen / ticks });
    }
    Ok(cores)
}

/// In microseconds.
pub fn percentiles(mut times: Vec<Duration>) -> Map<String, Value> {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index).or(times.last()).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    object(json!({ "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "p999_us": at(0.999) }))
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// One line of JSON with the fields of all.
pub fn print(all: impl IntoIterator<Item = Map<String, Value>>) {
    println!("{}", Value::Object(all.into_iter().flatten().collect()));
}
