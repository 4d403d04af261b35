//! The calls that the safe API of `boring` lacks. All unsafe code of this crate is here.
#![allow(unsafe_code, reason = "three C functions and one promise about sessions have no safe counterpart")]

use std::ffi::{CStr, c_int};

use boring::error::ErrorStack;
use boring::ssl::{SslContextBuilder, SslRef, SslSession};
use foreign_types::ForeignTypeRef;

/// Length of a set of ticket keys: name, HMAC key, AES key (`SSL_CTX_set_tlsext_ticket_keys`).
pub(super) const TICKET_KEYS: usize = 48;

/// Seals tickets with these keys, whichever core or configuration issued them.
pub(super) fn set_ticket_keys(
    context: &mut SslContextBuilder,
    keys: &[u8; TICKET_KEYS],
) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive for the call, and BoringSSL copies exactly `TICKET_KEYS` bytes.
    let done = unsafe {
        boring_sys::SSL_CTX_set_tlsext_ticket_keys(context.as_ptr(), keys.as_ptr().cast(), TICKET_KEYS)
    };
    checked(done)
}

/// How many tickets a TLS 1.3 server sends after a handshake.
pub(super) fn set_ticket_count(context: &mut SslContextBuilder, count: usize) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive for the call.
    checked(unsafe { boring_sys::SSL_CTX_set_num_tickets(context.as_ptr(), count) })
}

/// The name of the negotiated key exchange group; `None` where there was none.
pub(super) fn group_name(ssl: &SslRef) -> Option<&'static str> {
    // SAFETY: the connection is alive for the call.
    let group = unsafe { boring_sys::SSL_get_group_id(ssl.as_ptr()) };
    // SAFETY: takes a number; answers null or a pointer to a constant.
    let name = unsafe { boring_sys::SSL_get_group_name(group) };
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, NUL-terminated, and lives as long as the program.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// Offers a session for resumption. It must have been made by the very configuration that `ssl` was made from.
pub(super) fn offer_session(ssl: &mut SslRef, session: &SslSession) -> Result<(), ErrorStack> {
    // SAFETY: sessions are kept per client configuration, which owns one SSL_CTX, and `ssl` is of that context.
    unsafe { ssl.set_session(session) }
}

fn checked(result: c_int) -> Result<(), ErrorStack> {
    if result == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}
