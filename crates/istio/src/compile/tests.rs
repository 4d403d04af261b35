//! The Snapshot, judged through the deciding functions of `policy`. Properties draw new cases on every run; one that
//! failed is kept under proptest-regressions/, to be committed with the fix, and tried first from then on.

mod agree;
mod bombs;
mod cluster;
mod deny;
mod inbound;
mod literal;
mod order;
mod outbound;
mod route;
mod rules;
mod warnings;
