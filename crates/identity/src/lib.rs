//! SPIFFE ids, trust domains, bundles, `Credentials`, SAN extraction from DER and the secure-naming match:
//! what an auditor reads first. No I/O, no async, no TLS library.
#![forbid(unsafe_code)]
