//! What one decision takes by the clock: the median of many batches. Only as good as the machine is quiet.

use std::time::Instant;

use crate::{Result, mesh, policies, policy};

const BATCHES: usize = 301;
const BATCH: usize = 1000;

pub fn print() -> Result {
    println!("accept         {:>6} ns", median(policy::accept()?));
    println!("accept-mesh    {:>6} ns", median(mesh::accept()?));
    println!("authorize-10   {:>6} ns", median(policies::authorize(10)?));
    println!("authorize-1000 {:>6} ns", median(policies::authorize(1000)?));
    Ok(())
}

/// Nanoseconds of one.
fn median(mut one: impl FnMut()) -> u128 {
    let mut batch = || {
        let begin = Instant::now();
        (0..BATCH).for_each(|_| one());
        begin.elapsed().as_nanos() / BATCH as u128
    };
    let mut batches: Vec<u128> = (0..BATCHES).map(|_| batch()).collect();
    batches.sort();
    batches[BATCHES / 2]
}
