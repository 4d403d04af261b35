//! The real binary as an operator meets it: each test looks at what it says, its exit code and what stays behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod commands;
mod place;
mod running;
