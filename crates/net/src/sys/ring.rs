//! Makes io_uring instances: which flags this kernel takes, and whether one really works.

use std::io;

use io_uring::{Builder, IoUring, Probe, opcode};

/// The size of a core's submission queue. Large, since the runtime cannot recover from a full one.
pub(crate) const ENTRIES: u32 = 4096;

/// A name for the log, and what it does.
type Setup = (&'static str, fn(&mut Builder));

/// Ways to set a ring up, cheapest for a readiness loop first.
const SETUPS: [Setup; 3] = [
    ("SINGLE_ISSUER|DEFER_TASKRUN", |ring| {
        ring.setup_single_issuer().setup_defer_taskrun();
    }),
    ("COOP_TASKRUN", |ring| {
        ring.setup_coop_taskrun();
    }),
    ("no flags", |_| {}),
];

/// The first setup that `make` accepts, with its name. EINVAL means that the kernel is too old for a flag.
pub(crate) fn first_setup<T>(
    mut make: impl FnMut(Builder) -> io::Result<T>,
) -> io::Result<(&'static str, T)> {
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for (name, configure) in SETUPS {
        let mut builder = IoUring::builder();
        configure(&mut builder);
        match make(builder) {
            Ok(made) => return Ok((name, made)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Makes a ring as large as a worker's, sends one operation through it, and names its setup.
pub(crate) fn try_ring() -> io::Result<&'static str> {
    let (name, mut ring) = first_setup(|builder| builder.build(ENTRIES))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if !probe.is_supported(opcode::PollAdd::CODE) || !probe.is_supported(opcode::Close::CODE) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "no POLL_ADD or CLOSE operation"));
    }
    // SAFETY: a NOP refers to no memory.
    unsafe { ring.submission().push(&opcode::Nop::new().build()) }
        .map_err(|_| io::Error::other("a fresh submission queue is full"))?;
    ring.submit_and_wait(1)?;
    Ok(name)
}
