//! The data path gives the verdict that `sidering check` gives: the cases of the policy tables, each under exactly its
//! own resources, asked of `check` and sent to a real sidecar.

mod application;
mod client;
mod exchange;
mod inbound;
mod outbound;
mod table;
mod tap;
mod world;

use std::collections::BTreeMap;
use std::path::Path;

use sidering_tests::{Pki, Run, Subnet, boring_epoll, rustls_io_uring};

use crate::policy;
use exchange::Exchange;
use inbound::Inbound;
use outbound::Dialler;
use table::Case;

#[test]
fn inbound_agrees_with_check_rustls_io_uring() {
    inbound_agrees_with_check(rustls_io_uring());
}

#[test]
fn inbound_agrees_with_check_boring_epoll() {
    inbound_agrees_with_check(boring_epoll());
}

#[test]
fn outbound_agrees_with_check_rustls_io_uring() {
    outbound_agrees_with_check(rustls_io_uring());
}

#[test]
fn outbound_agrees_with_check_boring_epoll() {
    outbound_agrees_with_check(boring_epoll());
}

fn inbound_agrees_with_check(run: Run) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let (subnet, pki) = (Subnet::new(), Pki::new(directory.path(), "ca"));
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    // One process for all cases of a workload.
    let mut worlds: BTreeMap<String, Vec<Inbound>> = BTreeMap::new();
    for case in cases(directory.path(), subnet) {
        match Inbound::of(case, subnet) {
            Ok(asked) => worlds.entry(asked.case.world()).or_default().push(asked),
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    let (mut asked, mut wrong) = (BTreeMap::<String, usize>::new(), Vec::new());
    for cases in worlds.values() {
        let exchange = Exchange::start(run, directory.path(), subnet, &pki, cases);
        for (number, case) in cases.iter().enumerate() {
            *asked.entry(case.kind()).or_default() += 1;
            wrong.extend(case.disagreement(&exchange.ask(number, case)));
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

fn outbound_agrees_with_check(run: Run) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let (subnet, pki) = (Subnet::new(), Pki::new(directory.path(), "ca"));
    let mut worlds: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases(directory.path(), subnet) {
        if outbound::can_be_sent(&case, subnet) {
            worlds.entry(case.world()).or_default().push(case);
        }
    }
    let (mut asked, mut wrong) = (0, Vec::new());
    for cases in worlds.values() {
        let mut dialler = Dialler::start(run, directory.path(), subnet, &pki, cases);
        asked += cases.len();
        wrong
            .extend(cases.iter().enumerate().filter_map(|(number, case)| dialler.disagreement(number, case)));
    }
    println!("{run}: {} sidecars were asked to dial {asked} times", worlds.len());
    assert!(wrong.is_empty(), "{} disagree\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= 30, "{asked}");
}

fn cases(directory: &Path, subnet: Subnet) -> Vec<Case> {
    let tables = [policy::tables("policy"), policy::tables("policy/samples")].concat();
    table::cases(&tables, directory, subnet)
}
