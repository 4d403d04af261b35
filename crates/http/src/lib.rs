//! HTTP/1.1 and HTTP/2, server and client, on any `net::Stream`: one `Head`, one `Body`, one `Responder`.
//! Knows neither policy nor TLS.
#![forbid(unsafe_code)]
