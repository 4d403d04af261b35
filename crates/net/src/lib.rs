//! One core's world: workers, timers, listeners, streams and their two drivers; `sys/` holds all kernel work.
//! Knows nothing above it: no TLS, no HTTP, no policy.

mod ahead;
mod core;
mod driver;
mod failure;
mod gather;
mod holders;
mod listener;
mod mailbox;
mod pin;
mod prefixed;
mod relay;
mod runtime;
mod scratch;
mod set;
mod splice;
mod stream;
mod sys;
mod time;
mod worker;

pub use driver::{Driver, DriverChoice, Probed, UnknownDriver, probe};
pub use failure::Failure;
pub use gather::{Held, hold};
pub use listener::{BoundListener, ListenAddress, SocketId, TcpListener};
pub use mailbox::{Receiver, Sender, mailbox};
pub use pin::Pin;
pub use prefixed::Prefixed;
pub use relay::{Counters, Meter, RelayFailure, relay};
pub use scratch::{SCRATCH_SIZE, Scratch};
pub use stream::{Stream, TcpStream};
pub use time::{Elapsed, Idle, Timer, deadline, now, sleep_until};
pub use worker::{WorkerId, Workers, block_on, later, run_workers, spawn_local, yield_now};
