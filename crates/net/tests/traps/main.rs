//! What goes wrong on readiness loops, one test per trap, each on both drivers. A machine without io_uring fails
//! the io_uring half: nothing here is skipped.

mod starving;
mod support;
mod waking;
