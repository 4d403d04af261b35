//! The data path gives the verdict that `sidering check` gives: the cases of the policy tables, each under exactly its
//! own resources, asked of `check` and sent to a real sidecar.

mod application;
mod client;
mod inbound;
mod table;
mod world;

use std::collections::BTreeMap;

use sidering_tests::{Pki, Run, Subnet, boring_epoll, rustls_io_uring};

use crate::policy;
use inbound::Inbound;
use world::World;

#[test]
fn the_data_path_agrees_with_check_rustls_io_uring() {
    inbound_agrees(rustls_io_uring());
}

#[test]
fn the_data_path_agrees_with_check_boring_epoll() {
    inbound_agrees(boring_epoll());
}

fn inbound_agrees(run: Run) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let (subnet, pki) = (Subnet::new(), Pki::new(directory.path(), "ca"));
    let tables = [policy::tables("policy"), policy::tables("policy/samples")].concat();
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    // One process for all cases of a workload.
    let mut worlds: BTreeMap<String, Vec<Inbound>> = BTreeMap::new();
    for case in table::cases(&tables, directory.path(), subnet) {
        match Inbound::of(case, subnet) {
            Ok(asked) => worlds.entry(asked.case.world()).or_default().push(asked),
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    let (mut asked, mut wrong) = (BTreeMap::<String, usize>::new(), Vec::new());
    for cases in worlds.values() {
        let world = World::start(run, directory.path(), subnet, &pki, cases);
        for (number, case) in cases.iter().enumerate() {
            *asked.entry(case.kind()).or_default() += 1;
            wrong.extend(case.disagreement(&world.ask(number, case)));
        }
    }
    println!("{run}: {} sidecars were asked {asked:?}; left out: {left_out:?}", worlds.len());
    assert!(wrong.is_empty(), "{} disagree\n{}", wrong.len(), wrong.join("\n"));
    for (kind, least) in
        [("accept HTTP", 40), ("accept TCP", 40), ("authorize HTTP", 150), ("authorize TCP", 20)]
    {
        assert!(asked[kind] >= least, "{asked:?}");
    }
}
