//! The data path: inbound, outbound, sniffing, pools, load state, retries, relay, reasons, records, counters, drain.
#![forbid(unsafe_code)]
