//! Path normalization (istio-semantics 4.7): what routing, policy and the upstream all see.

use std::borrow::Cow;

/// `meshConfig.pathNormalization.normalization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    /// Nothing but dropping the fragment.
    None,
    /// RFC 3986 dot segments, unreserved escapes, `\` to `/`. Istio's default.
    #[default]
    Base,
    /// And runs of `/` collapse.
    MergeSlashes,
    /// `%2f` and `%5c` first become `/`.
    DecodeAndMergeSlashes,
}

/// Normalises a request target's path; the query, if any, is kept as it is. `None`: the request must be answered
/// with 400 (`%00` in the decoding mode).
pub fn normalize_path(_mode: PathNormalization, _target: &str) -> Option<Cow<'_, str>> {
    todo!("policy")
}
