//! HTTP/1.0 and 1.1 on the wire: heads and bodies, read with the strictest reading of RFC 9112 and written in one
//! form. `connection` holds the state that both sides share; nothing outside this crate sees any of it.

mod chunked;
mod client;
mod connection;
mod decoder;
mod encoder;
mod framing;
mod output;
mod read;
mod server;
mod target;
mod write;

pub(crate) use connection::{Connection, Shared};
pub(crate) use server::{Next, UnderWay, close, conclude};
