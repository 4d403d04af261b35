//! TLS 1.2 cipher suites by the names that configurations use: OpenSSL's or IANA's.

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};

use crate::ConfigFailure;

const TLS13: [SupportedCipherSuite; 3] =
    [TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];

/// In Istio's order of preference, then what it does not have by default. There are no suites without forward secrecy.
const TLS12: [(&str, SupportedCipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// All TLS 1.3 suites and the named TLS 1.2 ones, or all of these if none is named.
pub(super) fn select(names: &[Arc<str>]) -> Result<Vec<SupportedCipherSuite>, ConfigFailure> {
    let mut suites = TLS13.to_vec();
    if names.is_empty() {
        suites.extend(TLS12.map(|(_, suite)| suite));
    }
    for name in names {
        let known = TLS12.iter().find(|(openssl, suite)| *openssl == &**name || iana_name(suite) == **name);
        let (_, suite) = known.ok_or_else(|| ConfigFailure::CipherSuite {
            name: name.to_string(),
            supported: TLS12.map(|(openssl, _)| openssl).join(", "),
        })?;
        suites.push(*suite);
    }
    Ok(suites)
}

/// rustls marks TLS 1.3 suites in their names.
pub(super) fn iana_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or("unknown");
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}
