//! The examples in configs/ start as they are.
