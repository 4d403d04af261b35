//! The embedded certificate authority: a directory with `ca.pem` and `ca.key`, and leaves issued from it. For one
//! host, tests and demonstrations; a mesh with machines to lose wants a CA that keeps its key elsewhere.
//! Called by the command line and by the `embeddedCa` identity source.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use sidering_identity::{Bundle, CertificateChain, SpiffeId, TrustDomain};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{pem, read_file};

/// Life of the CA's own certificate.
pub const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Life of a leaf unless told otherwise.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How far a certificate's start lies in the past, for peers whose clocks are slow.
const BACKDATED: Duration = Duration::from_secs(60);

/// A CA that can issue: its key is in memory.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    trust_domain: TrustDomain,
    bundle: Arc<Bundle>,
}

/// When a leaf counts.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// Not valid earlier.
    pub not_before: OffsetDateTime,
    /// Not valid later.
    pub not_after: OffsetDateTime,
}

/// A fresh leaf with its key.
pub struct Issued {
    /// For a TLS configuration.
    pub chain: CertificateChain,
    /// The leaf, PEM.
    pub certificate_pem: String,
    /// The key, PKCS#8 PEM.
    pub key_pem: Zeroizing<String>,
}

/// Why there is no CA, or no leaf.
#[derive(Debug, thiserror::Error)]
pub enum CaFailure {
    /// A directory that has one already is left alone.
    #[error("{0} exists already; choose another --directory, or remove it if nobody trusts it any more")]
    Exists(PathBuf),
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path}: {problem}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what should be there.
        problem: String,
    },
    /// Generating or signing failed.
    #[error("certificate could not be made: {0}")]
    Signing(#[from] rcgen::Error),
}

impl CertificateAuthority {
    /// Makes a CA (ECDSA P-256, ten years) and writes `ca.key` (mode 0600) and `ca.pem` into `directory`, which is
    /// made if need be.
    ///
    /// # Errors
    /// [`CaFailure::Exists`] when either file is there already; the others as they say.
    pub fn init(directory: &Path, trust_domain: &TrustDomain) -> Result<Self, CaFailure> {
        let (certificate_path, key_path) = (directory.join("ca.pem"), directory.join("ca.key"));
        for path in [&certificate_path, &key_path] {
            if path.exists() {
                return Err(CaFailure::Exists(path.clone()));
            }
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = root_parameters(trust_domain).self_signed(&key)?;
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
        create(&key_path, 0o600, key.serialize_pem().as_bytes())?;
        create(&certificate_path, 0o644, certificate.pem().as_bytes())?;
        Self::open(directory)
    }

    /// Reads a CA that [`CertificateAuthority::init`] made. `ca.pem` may hold further roots to trust: the one that
    /// `ca.key` belongs to issues.
    ///
    /// # Errors
    /// [`CaFailure::File`] and [`CaFailure::Content`].
    pub fn open(directory: &Path) -> Result<Self, CaFailure> {
        let (certificate_path, key_path) = (directory.join("ca.pem"), directory.join("ca.key"));
        let certificate_pem = read_file(&certificate_path).map_err(at(&certificate_path))?;
        let key_pem = read_file(&key_path).map_err(at(&key_path))?;
        let wrong = |path: &Path, problem: String| CaFailure::Content { path: path.to_owned(), problem };
        let key_pem = std::str::from_utf8(&key_pem)
            .map_err(|_| wrong(&key_path, "no private key: not PEM".to_owned()))?;
        let roots =
            pem::certificates(&certificate_pem).map_err(|problem| wrong(&certificate_path, problem))?;
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| wrong(&key_path, format!("no private key: {error}")))?;
        let own = roots.iter().find(|root| pem::has_public_key(root, &key)).ok_or_else(|| {
            wrong(&key_path, format!("does not fit any certificate of {}", certificate_path.display()))
        })?;
        let organization = pem::organization(own).unwrap_or_default();
        let trust_domain = TrustDomain::parse(&organization).map_err(|error| {
            wrong(&certificate_path, format!("the organization names no trust domain: {error}"))
        })?;
        let issuer = Issuer::from_ca_cert_der(&own.clone().into(), key)?;
        Ok(Self { issuer, trust_domain, bundle: Arc::new(Bundle { roots }) })
    }

    /// The trust domain this CA was made for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What its peers verify with: every certificate of `ca.pem`.
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// Issues a leaf: ECDSA P-256, one SPIFFE id as URI SAN, for servers and clients; `dns` are further names.
    ///
    /// # Errors
    /// [`CaFailure::Signing`], also for a DNS name that is not ASCII.
    pub fn issue(&self, id: &SpiffeId, dns: &[String], validity: Validity) -> Result<Issued, CaFailure> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf_parameters(id, dns, validity)?.signed_by(&key, &self.issuer)?;
        let chain = CertificateChain {
            certificates: vec![certificate.der().to_vec()],
            key: Arc::new(Zeroizing::new(key.serialize_der())),
        };
        Ok(Issued { chain, certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

impl Validity {
    /// From now, backdated by a minute, for `lifetime`.
    pub fn lasting(lifetime: Duration) -> Self {
        let now = OffsetDateTime::now_utc();
        Self { not_before: now - BACKDATED, not_after: now + lifetime }
    }
}

impl Issued {
    /// Writes `<prefix>.pem` and `<prefix>.key` (mode 0600), each whole or not at all.
    ///
    /// # Errors
    /// [`CaFailure::File`].
    pub fn write(&self, prefix: &Path) -> Result<(PathBuf, PathBuf), CaFailure> {
        let named = |extension: &str| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(extension);
            PathBuf::from(name)
        };
        let (certificate, key) = (named(".pem"), named(".key"));
        replace(&key, 0o600, self.key_pem.as_bytes())?;
        replace(&certificate, 0o644, self.certificate_pem.as_bytes())?;
        Ok((certificate, key))
    }
}

fn root_parameters(trust_domain: &TrustDomain) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.remove(DnType::CommonName);
    parameters.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let validity = Validity::lasting(CA_LIFETIME);
    (parameters.not_before, parameters.not_after) = (validity.not_before, validity.not_after);
    parameters
}

/// An X509-SVID (SVID section 4): no subject, so the SAN extension is critical (RFC 5280 4.2.1.6).
fn leaf_parameters(
    id: &SpiffeId,
    dns: &[String],
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.remove(DnType::CommonName);
    parameters.subject_alt_names.push(SanType::URI(id.as_str().try_into()?));
    for name in dns {
        parameters.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    parameters.use_authority_key_identifier_extension = true;
    (parameters.not_before, parameters.not_after) = (validity.not_before, validity.not_after);
    Ok(parameters)
}

fn create(path: &Path, mode: u32, content: &[u8]) -> Result<(), CaFailure> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(at(path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(at(path))
}

/// Through a neighbour and a rename, so that a reader never sees half a file.
fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), CaFailure> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let neighbour = PathBuf::from(name);
    create(&neighbour, mode, content)?;
    fs::rename(&neighbour, path).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> CaFailure {
    let path = path.to_owned();
    move |error| CaFailure::File { path: path.clone(), error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::parse("cluster.local").unwrap()
    }

    fn orders() -> SpiffeId {
        SpiffeId::of_account(&domain(), "shop", "orders").unwrap()
    }

    #[test]
    fn a_ca_is_made_once_and_its_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca");
        CertificateAuthority::init(&ca, &domain()).unwrap();
        assert_eq!(fs::metadata(ca.join("ca.key")).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(CertificateAuthority::init(&ca, &domain()), Err(CaFailure::Exists(_))));
        assert_eq!(CertificateAuthority::open(&ca).unwrap().trust_domain(), &domain());
    }

    #[test]
    fn a_leaf_is_an_svid_for_both_roles() {
        let directory = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::init(directory.path(), &domain()).unwrap();
        let dns = ["orders.shop.svc".to_owned()];
        let issued = ca.issue(&orders(), &dns, Validity::lasting(LEAF_LIFETIME)).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain.certificates[0]).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical);
        let names: Vec<_> = names.value.general_names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["URI(spiffe://cluster.local/ns/shop/sa/orders)", "DNSName(orders.shop.svc)"]);
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth);
        let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
        assert_eq!(life, 24 * 3600 + 60);
        let (_, root) = x509_parser::parse_x509_certificate(&ca.bundle().roots[0]).unwrap();
        assert!(root.is_ca());
        leaf.verify_signature(Some(root.public_key())).unwrap();
    }

    #[test]
    fn a_written_pair_is_private_and_fits() {
        let directory = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::init(directory.path(), &domain()).unwrap();
        let issued = ca.issue(&orders(), &[], Validity::lasting(LEAF_LIFETIME)).unwrap();
        let (certificate, key) = issued.write(&directory.path().join("orders.v1")).unwrap();
        assert_eq!(certificate, directory.path().join("orders.v1.pem"));
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        let (certificate, key) = (fs::read(certificate).unwrap(), fs::read(key).unwrap());
        assert!(pem::chain(&certificate, &key).is_ok());
    }

    #[test]
    fn further_roots_are_trusted_and_the_fitting_one_issues() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        CertificateAuthority::init(&old, &domain()).unwrap();
        CertificateAuthority::init(&new, &domain()).unwrap();
        let both = [fs::read(old.join("ca.pem")).unwrap(), fs::read(new.join("ca.pem")).unwrap()].concat();
        fs::write(new.join("ca.pem"), both).unwrap();
        assert_eq!(CertificateAuthority::open(&new).unwrap().bundle().roots.len(), 2);
        fs::copy(old.join("ca.pem"), new.join("ca.pem")).unwrap();
        let refused = CertificateAuthority::open(&new).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("ca.key: does not fit"), "{refused}");
    }
}
