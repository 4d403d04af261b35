//! Authorities and leaves, as plain DER.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use sidering_identity::{Bundle, CertificateChain};
use time::{Duration, OffsetDateTime};

pub(crate) const CLIENT: &str = "spiffe://td/ns/a/sa/client";
pub(crate) const SERVER: &str = "spiffe://td/ns/a/sa/server";

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_until(name, OffsetDateTime::now_utc() + Duration::hours(1))
    }

    pub(crate) fn intermediate_until(&self, name: &str, end: OffsetDateTime) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = end;
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle { roots: vec![self.0.der().to_vec()] }
    }

    /// A leaf for both usages, good for an hour, unless `change` says otherwise.
    pub(crate) fn leaf(&self, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateChain {
        let key = KeyPair::generate().unwrap();
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = now - Duration::minutes(5);
        params.not_after = now + Duration::hours(1);
        change(&mut params);
        let leaf = params.signed_by(&key, &self.0).unwrap();
        CertificateChain {
            certificates: vec![leaf.der().to_vec()],
            key: Arc::new(key.serialize_der().into()),
        }
    }

    /// A leaf that another leaf of ours has signed, with that one in the chain.
    pub(crate) fn signed_by_a_leaf(&self, uri: &str) -> CertificateChain {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an ordinary leaf");
        let middle = params.signed_by(&key, &self.0).unwrap().der().to_vec();
        let middle_issuer = rcgen::Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let leaf = params.signed_by(&key, &middle_issuer).unwrap();
        CertificateChain {
            certificates: vec![leaf.der().to_vec(), middle],
            key: Arc::new(key.serialize_der().into()),
        }
    }
}
