//! Which driver is chosen, and why.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use sidering_net::{Driver, DriverChoice, Failure, Pin, UnknownDriver, probe, run_workers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{alone, pair, run};

#[test]
fn io_uring_is_chosen_where_the_kernel_allows_it() {
    for choice in [DriverChoice::Auto, DriverChoice::IoUring] {
        let probed = probe(choice).unwrap();
        assert_eq!(probed.driver, Driver::IoUring);
        assert_eq!(probed.why, "io_uring: SINGLE_ISSUER|DEFER_TASKRUN");
    }
    assert_eq!(probe(DriverChoice::Epoll).unwrap().driver, Driver::Epoll);
}

/// From here on io_uring_setup fails with `errno` in this thread and those it starts.
fn refuse_io_uring(errno: libc::c_int) {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let refusal = SeccompAction::Errno(errno.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn falls_back(errno: libc::c_int, name: &str) {
    refuse_io_uring(errno);
    let probed = probe(DriverChoice::Auto).unwrap();
    assert_eq!(probed.driver, Driver::Epoll);
    assert_eq!(probed.why, format!("epoll: io_uring_setup refused ({name}: seccomp)"));
    let by_name = probe(DriverChoice::IoUring);
    assert!(
        matches!(by_name, Err(Failure::DriverUnavailable { driver: Driver::IoUring, .. })),
        "{by_name:?}"
    );
    assert!(
        run_workers(Driver::IoUring, 2, &Pin::No, |_| async {}).is_err(),
        "a worker that cannot start is told"
    );
    run(probed.driver, async {
        let (mut ours, mut peer) = pair().await;
        std::io::Write::write_all(&mut peer, b"ping").unwrap();
        let mut got = [0; 4];
        ours.read_exact(&mut got).await.unwrap();
        ours.write_all(&got).await.unwrap();
        std::io::Read::read_exact(&mut peer, &mut got).unwrap();
        assert_eq!(&got, b"ping");
    });
}

/// What Docker and containerd do by default.
#[test]
fn a_seccomp_filter_leads_to_epoll_and_is_named() {
    alone(concat!(module_path!(), "::a_seccomp_filter_leads_to_epoll_and_is_named"), 256, || {
        falls_back(libc::EPERM, "EPERM");
    });
}

#[test]
fn a_seccomp_filter_that_plays_an_old_kernel_does_too() {
    alone(concat!(module_path!(), "::a_seccomp_filter_that_plays_an_old_kernel_does_too"), 256, || {
        falls_back(libc::ENOSYS, "ENOSYS");
    });
}

#[test]
fn names_of_drivers() {
    assert_eq!("auto".parse(), Ok(DriverChoice::Auto));
    assert_eq!("io_uring".parse(), Ok(DriverChoice::IoUring));
    assert_eq!("epoll".parse(), Ok(DriverChoice::Epoll));
    assert_eq!("kqueue".parse::<DriverChoice>(), Err(UnknownDriver("kqueue".to_owned())));
    assert_eq!(Driver::IoUring.to_string(), "io_uring");
}

#[test]
fn a_worker_that_panics_is_told_and_the_others_are_waited_for() {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let workers = run_workers(driver, 2, &Pin::No, |worker| async move {
            assert!(worker.0 != 1, "as it should");
        });
        let ended = workers.unwrap().join();
        assert!(matches!(ended, Err(Failure::WorkerPanicked { worker: 1 })), "{ended:?}");
    }
}
