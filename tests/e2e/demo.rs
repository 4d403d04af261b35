//! `sidering demo`, as a user runs it.

use std::process::Command;

use sidering_tests::{Run, binary, on_every_backend, run as run_command};

on_every_backend!(every_step_of_the_demo_holds);

fn every_step_of_the_demo_holds(run: Run) {
    let mut command = Command::new(binary());
    command.args(["demo", "-o", "json", "--tls-backend", run.backend, "--driver", run.driver]);
    let told = run_command(&mut command, b"");
    assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
    let steps = told.json();
    let steps = steps["steps"].as_array().expect("a list of steps").clone();
    let step = |name: &str| {
        steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name}"))
    };
    assert!(steps.iter().all(|step| step["held"] == true), "{steps:#?}");

    let request = &step("mtls")["facts"];
    assert_eq!(request["client"], "spiffe://cluster.local/ns/web/sa/frontend");
    assert_eq!(request["server"], "spiffe://cluster.local/ns/shop/sa/customers");
    assert_eq!((&request["backend"], &request["driver"]), (&run.backend.into(), &run.driver.into()));
    for key in ["tls_version", "cipher", "group"] {
        assert!(request[key].as_str().is_some_and(|value| !value.is_empty()), "{key}: {request:#}");
    }
    for name in ["strict-namespace", "strict-mesh", "strict-selector", "authorization-denied"] {
        let facts = &step(name)["facts"];
        assert!(facts["reason"].is_string(), "{facts:#}");
        assert!(facts["policy"].as_str().is_some_and(|policy| policy.contains(".yaml:")), "{facts:#}");
    }
    let rotation = &step("rotation")["facts"];
    assert_eq!(rotation["failed"], 0, "{rotation:#}");
    assert!(rotation["rotations"].as_u64() >= Some(3), "{rotation:#}");
    assert!(rotation["requests_per_second"].as_f64() >= Some(100.0), "{rotation:#}");
}
