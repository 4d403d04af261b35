//! From YAML to a Snapshot: whatever the files hold, diagnostics or a Snapshot, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidering_istio::{CaptureListeners, Effective, MeshConfig, Source, Workload, compile, parse};

fuzz_target!(|text: &str| {
    let (resources, _) = parse(&[Source { file: "fuzz.yaml".into(), text }]);
    let workload = Workload {
        name: "orders-1".into(),
        namespace: "shop".into(),
        service_account: "orders".into(),
        labels: [("app".to_owned(), "orders".to_owned())].into(),
        addresses: vec![[127, 0, 0, 2].into()],
    };
    let capture = CaptureListeners {
        inbound: Some(([0, 0, 0, 0], 15006).into()),
        outbound: Some(([0, 0, 0, 0], 15001).into()),
    };
    let effective = Effective::of(&resources, &MeshConfig::default(), &workload);
    for capture in [CaptureListeners::default(), capture] {
        let _ = compile(&effective, &capture, &|_| Err("no files here".into()));
    }
});
