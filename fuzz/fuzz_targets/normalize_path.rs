//! What a path is normalised to is normal, in every mode: whoever normalises it again sees what policy saw.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidering_policy::PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None as Off};
use sidering_policy::{normalize_path, path_of};

fuzz_target!(|target: &str| {
    for mode in [Off, Base, MergeSlashes, DecodeAndMergeSlashes] {
        let Some(once) = normalize_path(mode, target) else { continue };
        assert_eq!(normalize_path(mode, &once).as_deref(), Some(&*once));
        if mode != Off {
            assert!(path_of(&once).split('/').all(|segment| segment != "." && segment != ".."));
        }
    }
});
