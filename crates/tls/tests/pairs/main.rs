//! Every compiled backend as a client against every compiled backend as a server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod agree;
mod chains;
mod config;
mod pair;
mod pki;
mod refuse;
mod resume;
mod stream;
mod tls12;
