//! Handshakes and records without sockets (`Session`), one [`TlsStream`] over it, backends rustls and boring.
//! A backend verifies the peer's chain; who the peer is, is decided by `identity` on the leaf that
//! [`Handshake`] hands back. Takes no policy decisions. Called by `proxy`.
// Without a backend nothing can be constructed; that build only serves to check the crates that depend on this one.
#![cfg_attr(not(any(feature = "rustls", feature = "boring")), allow(unused, unreachable_code))]

mod alert;
mod config;
mod failure;
mod handshake;
mod hello;
mod leaf;
mod scratch;
mod session;
mod stream;
mod tickets;

#[cfg(feature = "boring")]
mod boring;
#[cfg(feature = "rustls")]
mod rustls;

pub use alert::Alert;
pub use config::{
    Backend, ClientConfig, ClientParameters, ClientTrust, ConfigFailure, ServerConfig, ServerParameters,
    UnknownBackend, Version,
};
pub use failure::Failure;
pub use handshake::{accept, connect};
pub use hello::{ClientHello, Inspected, inspect};
pub use session::Handshake;
pub use stream::TlsStream;
pub use tickets::TicketKeys;
