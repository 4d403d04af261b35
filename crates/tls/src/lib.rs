//! Handshakes and records without sockets (`Session`), one `TlsStream<S>` over it, backends rustls and boring.
//! Takes no policy decisions.
