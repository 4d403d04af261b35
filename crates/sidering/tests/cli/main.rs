//! The real binary as an operator meets it: each test looks at what it says, its exit code and what stays behind.

mod bad_input;
mod commands;
mod place;
mod running;
