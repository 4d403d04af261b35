//! One core's world: worker, timers, listeners, streams, drivers; `sys/` holds all kernel work.
//! Knows nothing above it: no TLS, no HTTP, no policy.
