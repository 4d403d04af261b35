//! Connections, driven through the public interface over scripted streams and pipes.
#![allow(clippy::unwrap_used)] // all of this is tests; the lint only knows those marked as such

mod client;
mod relay;
mod server;
mod support;
