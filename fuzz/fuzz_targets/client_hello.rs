//! The first bytes of a connection: whatever they are, no panic; and what was decided stays decided when more arrives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidering_tls::{Inspected, inspect};

fuzz_target!(|bytes: &[u8]| {
    let whole = inspect(bytes);
    for end in 0..bytes.len().min(512) {
        match inspect(&bytes[..end]) {
            Inspected::Incomplete => {}
            earlier => assert_eq!(format!("{earlier:?}"), format!("{whole:?}"), "after {end} bytes"),
        }
    }
});
