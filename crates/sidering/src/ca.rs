//! `sidering ca init|issue`: the embedded CA by hand.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sidering_control::ca::{CertificateAuthority, Validity};
use sidering_identity::{SpiffeError, SpiffeId, TrustDomain};

use crate::duration::Written;
use crate::failure::Failure;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a certificate authority: ca.pem and ca.key (ECDSA P-256, ten years).
    Init(Init),
    /// Issue a workload certificate: PREFIX.pem and PREFIX.key.
    Issue(Issue),
}

#[derive(Args)]
pub(crate) struct Init {
    /// Where ca.pem and ca.key go; made if need be.
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// What the ids that it issues start with.
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
}

#[derive(Args)]
pub(crate) struct Issue {
    /// Of `ca init`.
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// The whole SPIFFE id.
    #[arg(long, value_name = "SPIFFE-ID", conflicts_with_all = ["namespace", "service_account"],
          required_unless_present_all = ["namespace", "service_account"])]
    id: Option<String>,
    /// Instead of the id: the workload's namespace, in the CA's trust domain.
    #[arg(long, requires = "service_account")]
    namespace: Option<String>,
    /// Instead of the id: the workload's service account.
    #[arg(long, requires = "namespace")]
    service_account: Option<String>,
    /// Writes PREFIX.pem and PREFIX.key.
    #[arg(long, value_name = "PREFIX")]
    out: PathBuf,
    /// How long the certificate is valid.
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    lifetime: Written,
    /// Further DNS names.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    dns: Vec<String>,
}

/// Makes the CA and says where it is.
pub(crate) fn init(arguments: &Init) -> Result<(), Failure> {
    let domain = TrustDomain::parse(&arguments.trust_domain).map_err(configuration)?;
    CertificateAuthority::init(&arguments.directory, &domain).map_err(configuration)?;
    println!("made {}/ca.pem and ca.key for trust domain {domain}", arguments.directory.display());
    Ok(())
}

/// Issues one leaf and says what it is.
pub(crate) fn issue(arguments: &Issue) -> Result<(), Failure> {
    let ca = CertificateAuthority::open(&arguments.directory).map_err(configuration)?;
    let id = arguments.id(ca.trust_domain()).map_err(configuration)?;
    let validity = Validity::lasting(arguments.lifetime.0);
    let issued = ca.issue(&id, &arguments.dns, validity).map_err(configuration)?;
    let (certificate, key) = issued.write(&arguments.out).map_err(configuration)?;
    println!("issued {id}: {} and {}", certificate.display(), key.display());
    Ok(())
}

impl Issue {
    fn id(&self, domain: &TrustDomain) -> Result<SpiffeId, SpiffeError> {
        match (&self.id, &self.namespace, &self.service_account) {
            (Some(id), _, _) => SpiffeId::parse(id),
            (None, namespace, account) => SpiffeId::of_account(
                domain,
                namespace.as_deref().unwrap_or_default(),
                account.as_deref().unwrap_or_default(),
            ),
        }
    }
}

fn configuration(error: impl std::fmt::Display) -> Failure {
    Failure::Configuration(error.to_string())
}
