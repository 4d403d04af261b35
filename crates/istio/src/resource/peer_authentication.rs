//! PeerAuthentication: which mutual TLS a workload takes.

use std::collections::BTreeMap;
use std::fmt;

use sidering_policy::Position;

use super::meta::{Labels, Meta, envelope, read_selector};
use crate::read::Reader;
use crate::yaml::Node;

/// What an inbound port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MtlsMode {
    /// Plaintext only.
    Disable,
    /// Plaintext and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

#[derive(Debug)]
pub(crate) struct PeerAuthentication {
    pub(crate) meta: Meta,
    pub(crate) selector: Labels,
    /// `None`: UNSET.
    pub(crate) mode: Option<ModeAt>,
    /// `None`: UNSET for this port, which is the workload's mode.
    pub(crate) ports: BTreeMap<u16, Option<ModeAt>>,
}

/// A mode and its line.
#[derive(Clone, Debug)]
pub(crate) struct ModeAt {
    pub(crate) mode: MtlsMode,
    pub(crate) position: Position,
}

impl fmt::Display for MtlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        })
    }
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<PeerAuthentication> {
    let (meta, spec) = envelope(document, "PeerAuthentication", r)?;
    let mut policy = PeerAuthentication { meta, selector: Labels::new(), mode: None, ports: BTreeMap::new() };
    let Some(spec) = spec else { return Some(policy) };
    let mut f = r.fields(spec, "PeerAuthentication spec");
    if let Some(n) = f.get("selector") {
        policy.selector = read_selector(n, r);
    }
    policy.mode = f.get("mtls").and_then(|n| read_mtls(n, r));
    if let Some(n) = f.get("portLevelMtls") {
        policy.ports = read_ports(n, r);
        if policy.selector.is_empty() {
            r.error(n, "portLevelMtls needs a selector with labels: policies for a mesh or a namespace have no ports");
        }
    }
    f.done(r);
    Some(policy)
}

fn read_mtls(node: &Node, r: &mut Reader<'_>) -> Option<ModeAt> {
    let words = [
        ("UNSET", None),
        ("DISABLE", Some(MtlsMode::Disable)),
        ("PERMISSIVE", Some(MtlsMode::Permissive)),
        ("STRICT", Some(MtlsMode::Strict)),
    ];
    let mut f = r.fields(node, "mtls");
    let mode = f.get("mode");
    f.done(r);
    let mode = mode?;
    r.one_of(mode, "mode", &words).flatten().map(|value| ModeAt { mode: value, position: r.position(mode) })
}

fn read_ports(node: &Node, r: &mut Reader<'_>) -> BTreeMap<u16, Option<ModeAt>> {
    let mut ports = BTreeMap::new();
    let entries = r.entries(node, "portLevelMtls");
    if entries.is_empty() {
        r.error(node, "portLevelMtls needs at least one port; remove it or write one");
    }
    for entry in entries {
        let mode = read_mtls(&entry.value, r);
        match entry.key.parse::<u16>() {
            Ok(port) if port > 0 => {
                ports.insert(port, mode);
            }
            _ => r.error(&entry.value, format!("port {:?} is out of range; a port is 1 to 65535", entry.key)),
        }
    }
    ports
}
