//! From YAML to a Snapshot: whatever the files hold, diagnostics or a Snapshot, never a panic, and what `parse` finds of
//! a text it finds again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidering_istio::{CaptureListeners, Effective, MeshConfig, Source, Workload, compile, parse};
use sidering_policy::Position;

fuzz_target!(|content: &[u8]| {
    let Ok(source) = Source::of("fuzz.yaml".into(), content) else { return };
    MeshConfig::parse(&source, None);
    let (resources, diagnostics) = parse(std::slice::from_ref(&source));
    assert_eq!(parse(std::slice::from_ref(&source)).1, diagnostics);
    let workload = Workload {
        name: "orders-1".into(),
        namespace: "shop".into(),
        service_account: "orders".into(),
        labels: [("app".to_owned(), "orders".to_owned())].into(),
        addresses: vec![[127, 0, 0, 2].into()],
    };
    let at = |port: u16| {
        let position = Position { file: "sidering.yaml".into(), line: 1, column: 1 };
        Some((([0, 0, 0, 0], port).into(), position))
    };
    let capture = CaptureListeners { inbound: at(15006), outbound: at(15001) };
    let effective = Effective::of(&resources, &MeshConfig::default(), &workload);
    for capture in [CaptureListeners::default(), capture] {
        let _ = compile(&effective, &capture, &|_| Err("no files here".into()));
    }
});
