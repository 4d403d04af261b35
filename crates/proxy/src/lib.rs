//! The data path: inbound, outbound, sniffing, pools, load state, retries, relay, reasons, records, counters, drain.
//! It executes what `policy` decides and knows neither Istio's resources nor where configuration comes from.
#![forbid(unsafe_code)]

mod access_log;
mod connection;
mod counters;
mod headers;
mod histogram;
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
mod series;
mod sniff;
mod status;
mod stop;
mod upstream;
mod worker;

pub use histogram::{Distribution, Scale};
pub use options::{AccessLog, LogFormat, Options};
pub use proxy::{CredentialRefusal, Proxy, PublishRefusal, Seen, StartFailure};
pub use reason::Reason;
pub use record::{Expected, OriginText, Phase, Presented, Record, RequestLine, SniffedText};
pub use series::Labels;
pub use status::{
    Connections, CoreStatus, Detection, Detections, Handshakes, Latency, ListenerStatus, Metrics, Refusals,
    RequestProtocol, Security, Span, Status, Traffic,
};
