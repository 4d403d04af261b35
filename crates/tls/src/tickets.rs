//! The keys that session tickets are sealed with. They live outside the configurations, so that neither a rotation of
//! our own certificate nor another core breaks resumption; and there is one set per verification context, so that a
//! session accepted under other rules (another bundle, other trust domains) can never be resumed.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "boring")]
use crate::boring;
#[cfg(feature = "rustls")]
use crate::rustls;

/// One set of ticket keys, in memory only; clones share it. Make a new one when anything that peers are verified by
/// changes.
#[derive(Clone)]
pub struct TicketKeys(Arc<Keys>);

struct Keys {
    #[cfg(feature = "rustls")]
    rustls: rustls::Tickets,
    #[cfg(feature = "boring")]
    boring: boring::Tickets,
}

impl TicketKeys {
    /// Fresh random keys. Should the system have no random bytes, no ticket is ever issued or accepted.
    #[expect(clippy::new_without_default, reason = "fresh keys are no default value")]
    pub fn new() -> Self {
        Self(Arc::new(Keys {
            #[cfg(feature = "rustls")]
            rustls: rustls::Tickets::new(),
            #[cfg(feature = "boring")]
            boring: boring::Tickets::new(),
        }))
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn rustls(&self) -> &rustls::Tickets {
        &self.0.rustls
    }

    #[cfg(feature = "boring")]
    pub(crate) fn boring(&self) -> &boring::Tickets {
        &self.0.boring
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(withheld)")
    }
}
