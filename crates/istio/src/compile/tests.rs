//! The Snapshot, judged through the deciding functions of `policy`.

mod inbound;
