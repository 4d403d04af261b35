//! The Snapshot, judged through the deciding functions of `policy`.

mod agree;
mod cluster;
mod inbound;
mod order;
mod outbound;
mod route;
mod rules;
mod warnings;
