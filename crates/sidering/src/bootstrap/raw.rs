//! The bootstrap file as written: one struct per mapping, one field per key. Each key has its row in
//! docs/configuration.md; a test compares the two. Scalars check themselves, so that an error has the scalar's line.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use sidering_net::{DriverChoice, Pin};
use sidering_proxy::LogFormat;
use sidering_tls::Backend;

use crate::duration::Written;

/// Istio's `terminationDrainDuration`.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Bootstrap {
    pub(super) workload: Workload,
    #[serde(default)]
    pub(super) resources: Vec<PathBuf>,
    pub(super) mesh: Option<Mesh>,
    pub(super) identity: Spanned<Identity>,
    #[serde(default)]
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) runtime: Runtime,
    #[serde(default)]
    pub(super) listeners: Listeners,
    #[serde(default)]
    pub(super) admin: Admin,
    pub(super) stats: Option<Address>,
    pub(super) readiness: Option<Address>,
    pub(super) access_log: Option<Log>,
    pub(super) termination_drain_duration: Option<Parsed<Written>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) namespace: Spanned<String>,
    pub(super) service_account: Spanned<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) addresses: Vec<Parsed<IpAddr>>,
}

/// MeshConfig's own parser reads the fields: it knows their lines and their advice.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "mesh wants MeshConfig fields, such as {trustDomain: cluster.local}, or the path of a file of them"
)]
pub(super) enum Mesh {
    File(PathBuf),
    Inline(#[allow(dead_code, reason = "only its shape is looked at here")] BTreeMap<String, IgnoredAny>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) files: Option<Files>,
    pub(super) embedded_ca: Option<EmbeddedCa>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) private_key: PathBuf,
    pub(super) trust_bundle: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EmbeddedCa {
    pub(super) directory: PathBuf,
    pub(super) lifetime: Option<Parsed<Written>>,
    #[serde(default)]
    pub(super) dns: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) backend: Option<Parsed<Backend>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Runtime {
    pub(super) driver: Option<Parsed<DriverChoice>>,
    pub(super) workers: Parsed<Workers>,
    pub(super) pin: Pinning,
}

#[derive(Default, Deserialize)]
#[serde(untagged, expecting = "pin wants auto, true, false, or a list of CPU numbers")]
pub(super) enum Pinning {
    Switch(bool),
    Cpus(Vec<usize>),
    Word(PinWord),
    #[default]
    #[serde(skip)]
    Unset,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PinWord {
    Auto,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Listeners {
    pub(super) inbound: Option<Spanned<HostPort>>,
    pub(super) outbound: Option<Spanned<HostPort>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) socket: Option<Spanned<PathBuf>>,
    pub(super) address: Option<Spanned<Loopback>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Address {
    pub(super) address: Spanned<HostPort>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    #[serde(default)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Istio,
    Json,
}

/// A scalar with a grammar of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parsed<T>(pub(super) T);

/// How many; at least one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workers(pub(super) usize);

/// `IP:PORT`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostPort(SocketAddr);

/// `IP:PORT` on this machine only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loopback(SocketAddr);

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) | Err(_) => {
                Err(format!("{text:?} workers: write a number from 1, one for each core to use"))
            }
            Ok(workers) => Ok(Self(workers)),
        }
    }
}

impl HostPort {
    pub(super) fn address(self) -> SocketAddr {
        self.0
    }
}

impl Loopback {
    pub(super) fn address(self) -> SocketAddr {
        self.0
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            |_| D::Error::custom(format!("{text:?} is no address; write IP:PORT, such as 127.0.0.1:15020"));
        text.parse().map(Self).map_err(wrong)
    }
}

impl<'de> Deserialize<'de> for Loopback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let address = HostPort::deserialize(deserializer)?.0;
        if address.ip().is_loopback() {
            return Ok(Self(address));
        }
        let advice = "is reachable from other machines; use a loopback address, such as 127.0.0.1:15000";
        Err(D::Error::custom(format!("{address} {advice}")))
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self { driver: None, workers: Parsed(Workers(1)), pin: Pinning::default() }
    }
}

impl From<Pinning> for Pin {
    fn from(pinning: Pinning) -> Self {
        match pinning {
            Pinning::Unset | Pinning::Word(PinWord::Auto) => Self::Auto,
            Pinning::Switch(true) => Self::Yes,
            Pinning::Switch(false) => Self::No,
            Pinning::Cpus(cpus) => Self::Cpus(cpus),
        }
    }
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Istio => Self::Istio,
            Format::Json => Self::Json,
        }
    }
}
