//! Async functions that bring configuration and identity: file watch, renewal, the embedded CA. It knows Istio
//! resources and credentials, and hands finished values to closures that may refuse them; it knows nothing of
//! sockets or of the data path. The binary runs these on its control runtime.
#![forbid(unsafe_code)]

pub mod ca;
pub mod identity;
mod parsed;
mod pem;
mod quiet;
mod reload;
mod resources;
mod watch;

pub use quiet::{QUIET, read_file};
pub use reload::{Reload, Reloads};
pub use resources::{
    LoadFailure, Loaded, Publish, ResourceInputs, ResourceReport, ResourceWatch, read_resources,
};
