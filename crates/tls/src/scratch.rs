//! The buffers of one poll, one pair per thread: an idle connection holds none of them. Taken out of a cell, so that
//! streams may nest (TLS within TLS finds the cell empty and allocates).

use std::cell::Cell;

/// Bytes read from the socket at a time: two full records.
const CIPHER: usize = 32 * 1024;

/// More than one poll ever needs is not kept.
const KEEP_WIRE: usize = 128 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

pub(crate) struct Buffers {
    /// What came from the socket.
    pub(crate) cipher: Box<[u8]>,
    /// What goes to the socket; empty when taken.
    pub(crate) wire: Vec<u8>,
    /// Several small slices made one, so that they become one record.
    pub(crate) plain: Vec<u8>,
}

/// Runs `f` with this thread's buffers.
pub(crate) fn with<T>(f: impl FnOnce(&mut Buffers) -> T) -> T {
    let mut buffers = SPARE.take().unwrap_or_else(|| {
        Box::new(Buffers { cipher: vec![0; CIPHER].into_boxed_slice(), wire: Vec::new(), plain: Vec::new() })
    });
    let result = f(&mut buffers);
    buffers.wire.clear();
    buffers.plain.clear();
    if buffers.wire.capacity() <= KEEP_WIRE {
        SPARE.set(Some(buffers));
    }
    result
}
