//! Connections, driven through the public interface over scripted streams and pipes.

mod client;
mod relay;
mod server;
mod support;
