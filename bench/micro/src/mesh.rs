//! Compiling a big mesh: 10,000 ServiceEntries with 20,000 endpoints and 2,000 DestinationRules in 100 files, one for
//! each namespace, and 1,000 AuthorizationPolicies that all select the workload. Everything is captured and visible.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sidering_istio::{CaptureListeners, Effective, Findings, MeshConfig, Parsed, Source, Workload};
use sidering_policy::{Destination, Direction, Facts, Position, Transport};

use crate::policy::{inbound_facts, listener};
use crate::{Result, policies};

const NAMESPACES: usize = 100;
const SERVICES: usize = 100;
const RULES: usize = 20;
const POLICIES: usize = 1000;

/// Compiles the mesh and says what that took; then again, as after an edit of one file.
pub fn compile() -> Result {
    let files = files()?;
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { file: (&**name).into(), text }).collect();
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    println!("{} files, {} KiB", files.len(), bytes >> 10);
    let mut parsed: Vec<Parsed> = Vec::new();
    let mut in_force = None;
    for edited in 0..5 {
        let begin = cpu()?;
        let mut findings = Findings::default();
        for (number, source) in sources.iter().enumerate() {
            match parsed.get_mut(number) {
                Some(file) if number == edited => *file = Parsed::of(source, &mut findings),
                Some(file) => drop(file.reuse(&mut findings)),
                None => parsed.push(Parsed::of(source, &mut findings)),
            }
        }
        let read = cpu()? - begin;
        let (resources, problems) = sidering_istio::join(&parsed, findings);
        let joined = cpu()? - begin;
        let effective = Effective::of(&resources, &MeshConfig::default(), &workload());
        let reduced = cpu()? - begin;
        let snapshot = sidering_istio::compile(&effective, &capture(), &|_| Err("no files".into()));
        let compiled = cpu()? - begin;
        if !problems.is_empty() {
            return Err(format!("{problems:?}").into());
        }
        in_force = Some((snapshot.map_err(|problems| format!("{problems:?}"))?, effective));
        println!(
            "{compiled:6.0?}: read {read:.0?}, joined {:.0?}, reduced {:.0?}, compiled {:.0?}, replaced {:.0?}; peak {} MiB",
            joined - read,
            reduced - joined,
            compiled - reduced,
            cpu()? - begin - compiled,
            peak()? >> 10
        );
    }
    drop(in_force);
    Ok(())
}

/// A connection of our workload to one of the 2,000 services that speak TCP.
pub fn accept() -> Result<impl FnMut()> {
    let files = files()?;
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { file: (&**name).into(), text }).collect();
    let effective = Effective::of(&sidering_istio::parse(&sources).0, &MeshConfig::default(), &workload());
    let snapshot = sidering_istio::compile(&effective, &capture(), &|_| Err("no files".into()))
        .map_err(|problems| format!("{problems:?}"))?;
    let facts = Facts {
        destination: Destination(([10, 50, 44, 1], 6000).into()),
        transport: Transport::Raw,
        server_name: None,
        application_protocols: vec![],
        ..inbound_facts()
    };
    let listener = listener(&snapshot, Direction::Outbound)?.to_owned();
    Ok(move || {
        let chain = sidering_policy::accept(black_box(&snapshot), black_box(&listener), black_box(&facts));
        black_box(chain.is_ok_and(|chain| chain.matches.destination_port == Some(6000)));
    })
}

fn capture() -> CaptureListeners {
    let position = Position { file: "bootstrap".into(), line: 1, column: 1 };
    let listener = |port| Some((SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), position.clone()));
    CaptureListeners { inbound: listener(15006), outbound: listener(15001) }
}

/// Writes the mesh's files, for the sidecar itself.
pub fn write(directory: &Path) -> Result {
    for (name, text) in files()? {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

/// What this thread has taken of a processor, whatever else the machine does.
fn cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("no schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// KiB of memory, at most so far.
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(word.parse()?)
}

fn workload() -> Workload {
    Workload {
        name: "orders-1".into(),
        namespace: "shop".into(),
        service_account: "orders".into(),
        labels: [("app".to_owned(), "orders".to_owned())].into(),
        addresses: vec![[127, 0, 0, 2].into()],
    }
}

fn files() -> Result<Vec<(String, String)>> {
    let mut files = vec![("policies.yaml".to_owned(), policies::policies(POLICIES)?)];
    for namespace in 0..NAMESPACES {
        files.push((format!("team-{namespace}.yaml"), services(namespace)?));
    }
    Ok(files)
}

/// One in five speaks TCP, behind an address of its own.
fn services(namespace: usize) -> Result<String> {
    let mut text = String::new();
    for service in 0..SERVICES {
        let name = format!("service-{service}.team-{namespace}.svc.cluster.local");
        let (protocol, port) = if service % 5 == 4 { ("TCP", 6000) } else { ("HTTP", 8000 + service % 5) };
        write!(
            text,
            "---\n\
             apiVersion: networking.istio.io/v1\n\
             kind: ServiceEntry\n\
             metadata:\n\
             \x20 name: service-{service}\n\
             \x20 namespace: team-{namespace}\n\
             spec:\n\
             \x20 hosts:\n\
             \x20 - {name}\n\
             \x20 addresses: [10.{namespace}.{service}.1]\n\
             \x20 location: MESH_INTERNAL\n\
             \x20 resolution: STATIC\n\
             \x20 ports:\n\
             \x20 - number: {port}\n\
             \x20   name: main\n\
             \x20   protocol: {protocol}\n\
             \x20 endpoints:\n\
             \x20 - address: 10.{namespace}.{service}.2\n\
             \x20   serviceAccount: service-{service}\n\
             \x20   labels: {{app: service-{service}, version: v1}}\n\
             \x20 - address: 10.{namespace}.{service}.3\n\
             \x20   serviceAccount: service-{service}\n\
             \x20   labels: {{app: service-{service}, version: v2}}\n"
        )?;
        if service < RULES {
            write!(
                text,
                "---\n\
                 apiVersion: networking.istio.io/v1\n\
                 kind: DestinationRule\n\
                 metadata:\n\
                 \x20 name: service-{service}\n\
                 \x20 namespace: team-{namespace}\n\
                 spec:\n\
                 \x20 host: {name}\n\
                 \x20 trafficPolicy:\n\
                 \x20   loadBalancer: {{simple: LEAST_REQUEST}}\n\
                 \x20   tls: {{mode: ISTIO_MUTUAL}}\n\
                 \x20 subsets:\n\
                 \x20 - name: v1\n\
                 \x20   labels: {{version: v1}}\n\
                 \x20 - name: v2\n\
                 \x20   labels: {{version: v2}}\n"
            )?;
        }
    }
    Ok(text)
}
