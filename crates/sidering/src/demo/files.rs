//! configs/demo as it stands in the repository, carried in the binary so that the demo needs no files.

use std::fs;
use std::io;
use std::path::Path;

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => { [$(($path, include_str!(concat!("../../../../configs/demo/", $path)))),+] };
}

/// What is laid out at the start.
const LAID_OUT: &[(&str, &str)] = &embedded![
    "frontend.yaml",
    "customers-v1.yaml",
    "customers-v2.yaml",
    "orders.yaml",
    "mesh/services.yaml",
    "mesh/sidecars.yaml",
    "mesh/traffic.yaml",
    "mesh/authorization.yaml",
    "mesh/peer-authentication.yaml",
];

/// What takes the place of mesh/peer-authentication.yaml as the story goes on.
pub(super) const STRICT_NAMESPACE: &str = include_str!("../../../../configs/demo/strict/namespace.yaml");
/// The same for the whole mesh.
pub(super) const STRICT_MESH: &str = include_str!("../../../../configs/demo/strict/mesh.yaml");
/// The same for `app: customers`.
pub(super) const STRICT_CUSTOMERS: &str = include_str!("../../../../configs/demo/strict/customers.yaml");

/// Writes them below `directory`, each text put through `adapt`.
pub(super) fn lay_out(directory: &Path, adapt: impl Fn(&str) -> String) -> io::Result<()> {
    for place in ["mesh", "certs", "run"] {
        fs::create_dir(directory.join(place))?;
    }
    LAID_OUT.iter().try_for_each(|(path, text)| fs::write(directory.join(path), adapt(text)))
}
