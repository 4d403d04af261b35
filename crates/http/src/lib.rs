//! HTTP/1.1, server and client, on any `net::Stream`: one `Head`, one `Body`, one `Responder`, whatever the
//! version. Knows neither policy nor TLS, and writes no reply of its own.
#![forbid(unsafe_code)]

mod body;
mod client;
mod detect;
mod drain;
mod failure;
mod h1;
mod head;
mod headers;
mod hop;
mod limits;
mod patience;
mod server;
mod upgraded;

pub use body::{Body, BodyWriter, Request, Response};
pub use client::{Client, Exchange, Progress};
pub use detect::{Detected, detect};
pub use drain::Drain;
pub use failure::{Failure, Malformed, Phase};
pub use head::{Length, RequestHead, ResponseHead, Scheme, Version};
pub use headers::{HeaderName, Headers, InvalidHeaderName};
pub use hop::strip_hop_by_hop;
pub use http::Method;
pub use limits::Limits;
pub use server::{Done, Handler, Outcome, Responder, serve};
pub use upgraded::Upgraded;
