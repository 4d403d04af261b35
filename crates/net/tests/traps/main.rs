//! What goes wrong on readiness loops, one test per trap, each on both drivers. A machine without io_uring fails
//! the io_uring half: nothing here is skipped.

#![allow(clippy::unwrap_used)] // all of this is tests; the lint only knows those marked as such

mod accepting;
mod connecting;
mod drivers;
mod endings;
mod idling;
mod relaying;
mod splicing;
mod starving;
mod support;
mod waking;
