//! Certificates and keys that DestinationRules name: PEM to DER, read once.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sidering_identity::{Bundle, CertificateChain};
use sidering_policy::Position;
use zeroize::Zeroizing;

use super::Compiler;
use crate::resource::FileAt;

/// Where Debian-like and Red-Hat-like systems keep their roots.
const SYSTEM_ROOTS: &[&str] = &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

impl Compiler<'_> {
    /// The roots in a file; `system` is Istio's word for those of the operating system.
    pub(super) fn roots(&mut self, file: &FileAt) -> Option<Arc<Bundle>> {
        if file.path == Path::new("system") {
            return self.system_roots(&file.position);
        }
        let path: Arc<Path> = file.path.as_path().into();
        if let Some(bundle) = self.bundles.get(&path) {
            return Some(bundle.clone());
        }
        let pem = self.read(file)?;
        let roots = self.certificates(&pem, file)?;
        let bundle = Arc::new(Bundle { roots });
        self.bundles.insert(path, bundle.clone());
        Some(bundle)
    }

    pub(super) fn system_roots(&mut self, position: &Position) -> Option<Arc<Bundle>> {
        let found = SYSTEM_ROOTS.iter().find(|path| (self.files)(Path::new(path)).is_ok());
        match found {
            Some(path) => self.roots(&FileAt { path: path.into(), position: position.clone() }),
            None => {
                let places = SYSTEM_ROOTS.join(" and ");
                self.error(
                    position,
                    format!("there are no system roots at {places}; name a caCertificates file"),
                );
                None
            }
        }
    }

    /// A client's certificate with its key.
    pub(super) fn client_chain(
        &mut self,
        certificate: &FileAt,
        key: &FileAt,
    ) -> Option<Arc<CertificateChain>> {
        let pem = self.read(certificate)?;
        let certificates = self.certificates(&pem, certificate)?;
        let pem = Zeroizing::new(self.read(key)?);
        match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(der) => {
                let key = Arc::new(Zeroizing::new(der.secret_der().to_vec()));
                Some(Arc::new(CertificateChain { certificates, key }))
            }
            Err(_) => {
                self.error(&key.position, format!("{} holds no PEM private key", key.path.display()));
                None
            }
        }
    }

    fn read(&mut self, file: &FileAt) -> Option<Vec<u8>> {
        match (self.files)(&file.path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.error(&file.position, format!("cannot read {}: {error}", file.path.display()));
                None
            }
        }
    }

    fn certificates(&mut self, pem: &[u8], file: &FileAt) -> Option<Vec<Vec<u8>>> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match read {
            Ok(certificates) if !certificates.is_empty() => {
                Some(certificates.into_iter().map(|der| der.as_ref().to_vec()).collect())
            }
            _ => {
                self.error(&file.position, format!("{} holds no PEM certificate", file.path.display()));
                None
            }
        }
    }
}
