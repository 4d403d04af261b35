//! The Snapshot, judged through the deciding functions of `policy`.

mod cluster;
mod inbound;
mod order;
mod outbound;
mod route;
mod rules;
