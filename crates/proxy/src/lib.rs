//! The data path: inbound, outbound, sniffing, pools, load state, retries, relay, reasons, records, counters, drain.
//! It executes what `policy` decides and knows neither Istio's resources nor where configuration comes from.
#![forbid(unsafe_code)]

mod access_log;
mod connection;
mod counters;
mod headers;
mod inbound;
mod io;
mod live;
mod opaque;
mod options;
mod outbound;
mod proxy;
mod reason;
mod record;
mod refused;
mod registry;
mod relay;
mod reply;
mod report;
mod request;
mod sniff;
mod status;
mod stop;
mod upstream;
mod worker;

pub use options::{AccessLog, LogFormat, Options};
pub use proxy::{CredentialRefusal, Proxy, PublishRefusal, Seen, StartFailure};
pub use reason::Reason;
pub use record::{Expected, OriginText, Phase, Presented, Record, RequestLine, SniffedText};
pub use status::{
    Connections, CoreStatus, Handshakes, ListenerStatus, Metrics, Refusals, Requests, Security, Status,
};
