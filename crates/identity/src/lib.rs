//! SPIFFE ids, trust domains, bundles, `Credentials`, SAN extraction from DER and the secure-naming match:
//! what an auditor reads first. No I/O, no async, no TLS library.
#![forbid(unsafe_code)]

mod credentials;
mod naming;
mod san;
mod spiffe;
mod subject;

pub use credentials::{Bundle, CertificateChain, Credentials};
pub use naming::{ExpectedSan, ExpectedSans, IdentityError, PeerIdentity, peer_identity};
pub use san::{Leaf, SanError, read_leaf};
pub use spiffe::{SpiffeError, SpiffeId, TrustDomain};
