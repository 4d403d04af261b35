//! Async functions that bring configuration and identity: file watch, renewal, the embedded CA.
#![forbid(unsafe_code)]
