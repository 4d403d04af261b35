//! Certificate authorities and leaves with any name and any validity, written as the PEM files that everybody reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::openssl;

/// An authority, and the directory its files go to.
pub struct Pki {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    bundle: PathBuf,
}

/// What a leaf says.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// None: the common name is that of the files.
    subject: Option<Vec<(DnType, String)>>,
    rsa: bool,
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    extensions: Vec<CustomExtension>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// A leaf on disk.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM of the leaf.
    pub certificate: PathBuf,
    /// PEM of its key.
    pub key: PathBuf,
    /// PEM of the authority.
    pub bundle: PathBuf,
    /// Upper-case hex, as `openssl x509 -serial` prints it.
    pub serial: String,
}

impl Pki {
    /// A fresh authority; its root goes to `DIRECTORY/NAME.pem`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let issuer =
            CertifiedIssuer::self_signed(params, key).expect("the parameters of an authority are complete");
        let bundle = directory.join(format!("{name}.pem"));
        fs::write(&bundle, issuer.pem()).expect("the test's directory takes files");
        Self { directory: directory.to_owned(), issuer, bundle }
    }

    /// The root's file.
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Issues a leaf to `DIRECTORY/NAME.crt` and `NAME.key`, over what was there: a rotation. The holder's bundle,
    /// `NAME-ca.pem`, is written once.
    pub fn issue(&self, name: &str, leaf: &Leaf) -> Files {
        let (certificate, key, serial) = self.sign(name, leaf);
        let files = self.files(name, serial);
        // Key first: a watcher then sees a pair that does not match, as with any two files.
        fs::write(&files.key, key).expect("the test's directory takes files");
        fs::write(&files.certificate, certificate).expect("the test's directory takes files");
        if !files.bundle.exists() {
            fs::copy(&self.bundle, &files.bundle).expect("the test's directory takes files");
        }
        files
    }

    /// The PEM of a leaf, of its key, and its serial, without writing them.
    pub fn sign(&self, name: &str, leaf: &Leaf) -> (String, String, String) {
        static SERIAL: AtomicU64 = AtomicU64::new(0x5100_0000);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        let subject = leaf.subject.clone().unwrap_or_else(|| vec![(DnType::CommonName, name.into())]);
        params.distinguished_name = DistinguishedName::new();
        subject.into_iter().for_each(|(kind, value)| params.distinguished_name.push(kind, value));
        params.subject_alt_names = leaf.names.clone();
        params.extended_key_usages = leaf.usages.clone();
        params.custom_extensions = leaf.extensions.clone();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = leaf.not_before;
        params.not_after = leaf.not_after;
        params.serial_number = Some(SerialNumber::from_slice(&(serial as u32).to_be_bytes()));
        params.use_authority_key_identifier_extension = true;
        let key = match leaf.rsa {
            true => rsa(),
            false => KeyPair::generate().expect("a P-256 key can be made"),
        };
        let certificate =
            params.signed_by(&key, &self.issuer).expect("the parameters of a leaf are complete");
        (certificate.pem(), key.serialize_pem(), format!("{serial:08X}"))
    }

    fn files(&self, name: &str, serial: String) -> Files {
        Files {
            certificate: self.directory.join(format!("{name}.crt")),
            key: self.directory.join(format!("{name}.key")),
            bundle: self.directory.join(format!("{name}-ca.pem")),
            serial,
        }
    }
}

impl Files {
    /// The leaf as records show it.
    pub fn presented(&self, names: &[&str]) -> Value {
        json!({"names": names, "serial": self.serial, "not_after": "*"})
    }
}

/// By openssl: a debug build of our own library takes seconds.
fn rsa() -> KeyPair {
    let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"").ok();
    KeyPair::from_pem(&pem).expect("openssl writes PKCS #8")
}

impl Leaf {
    /// A mesh identity, `spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT`, good for an hour.
    pub fn workload(namespace: &str, account: &str) -> Self {
        Self::nameless().uri(&format!("spiffe://cluster.local/ns/{namespace}/sa/{account}"))
    }

    /// An ordinary server's certificate, good for an hour.
    pub fn host(name: &str) -> Self {
        Self::nameless().dns(name)
    }

    /// No name at all yet, for both usages, good for an hour.
    pub fn nameless() -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            subject: None,
            rsa: false,
            names: Vec::new(),
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            extensions: Vec::new(),
            not_before: now - Duration::minutes(5),
            not_after: now + Duration::hours(1),
        }
    }

    /// As istiod issues them by default: an RSA key of 2048 bits, and no subject, so that the names are critical.
    pub fn of_istiod(mut self) -> Self {
        (self.subject, self.rsa) = (Some(Vec::new()), true);
        self
    }

    /// Another subject: object identifiers and their values, in the certificate's order.
    pub fn subject<'a>(mut self, parts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let arcs = |oid: &str| oid.split('.').map(|arc| arc.parse().expect("arcs are numbers")).collect();
        let part = |(oid, value): (&str, &str)| (DnType::CustomDnType(arcs(oid)), value.into());
        self.subject = Some(parts.into_iter().map(part).collect());
        self
    }

    /// One more URI name.
    pub fn uri(mut self, name: &str) -> Self {
        self.names.push(SanType::URI(name.try_into().expect("test names are ASCII")));
        self
    }

    /// One more DNS name.
    pub fn dns(mut self, name: &str) -> Self {
        self.names.push(SanType::DnsName(name.try_into().expect("test names are ASCII")));
        self
    }

    /// Over since a minute.
    pub fn expired(mut self) -> Self {
        self.not_after = OffsetDateTime::now_utc() - Duration::minutes(1);
        self
    }

    /// Begins in an hour.
    pub fn not_yet_valid(mut self) -> Self {
        self.not_before = OffsetDateTime::now_utc() + Duration::hours(1);
        self.not_after = self.not_before + Duration::hours(1);
        self
    }

    /// Has a critical extension that nobody knows: who cannot tell what it means must refuse it.
    pub fn incomprehensible(mut self) -> Self {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        extension.set_criticality(true);
        self.extensions.push(extension);
        self
    }

    /// Only for servers: no client may present it.
    pub fn server_only(mut self) -> Self {
        self.usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// Only for clients: no server may present it.
    pub fn client_only(mut self) -> Self {
        self.usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }
}
