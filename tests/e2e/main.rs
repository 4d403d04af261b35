//! The whole product from outside: real sidecars as child processes, real sockets, foreign clients. Each test has a
//! loopback network of its own; nothing sleeps.

mod authorization;
mod broken;
mod configs;
mod demo;
mod downstream;
mod envoy;
mod explain;
mod hostile;
mod http;
mod lifecycle;
mod naming;
mod peer_authentication;
mod policy;
mod prometheus;
mod reasons;
mod records;
mod reload;
mod reload_load;
mod revoked;
mod rotation;
mod routing;
mod tcp;
mod unix;
mod upstream;
mod wire;
