//! `sidering demo`, as a user runs it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use sidering_tests::{Run, binary, curl, on_every_backend, run as run_command};

on_every_backend!(every_step_of_the_demo_holds);

/// Interrupted, it takes its sidecars along. One that hangs is ended, and fails the test.
#[test]
fn a_kept_demo_runs_until_it_is_interrupted() {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=20", "120"]).arg(binary()).args(["demo", "--keep"]);
    let mut demo = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines =
        BufReader::new(demo.stdout.take().expect("stdout is piped")).lines().map_while(Result::ok);
    let line =
        lines.find(|line| line.contains("curl -H 'Host: customers.shop'")).expect("it says what to try");
    let url = line.split_whitespace().last().expect("a curl command ends with its URL");
    assert!(curl(&[url, "-H", "Host: customers.shop"]).ok().starts_with("customers v1 heard"));
    run_command(Command::new("kill").args(["-INT", &demo.id().to_string()]), b"").ok();
    assert_eq!(demo.wait().expect("a child can be waited for").code(), Some(0));
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    assert!(TcpStream::connect(address).is_err(), "a sidecar is left behind");
}

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
