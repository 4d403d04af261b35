//! The steps of the story, in order. Each asks as an application would and looks at what the sidecars put on record.

use super::client::{Answer, Client};
use super::files;
use super::load::Load;
use super::report::Step;
use super::sidecar::Sidecar;
use super::stage::{FRONTEND_INBOUND, ONLY_CUSTOMERS, OUTBOUND, Stage};

type Told = Result<(), String>;
type Tell = fn(&mut Stage, &mut Step) -> Told;

/// Name, title, and how it is told.
pub(super) const STEPS: &[(&str, &str, Tell)] = &[
    ("mtls", "A request through both sidecars is mutual TLS between two identities", mtls),
    ("tls-modes", "DISABLE, SIMPLE, MUTUAL and ISTIO_MUTUAL, each to an upstream that fits", tls_modes),
    ("auto-mtls", "Auto mTLS: one service, one endpoint with a sidecar and one without", auto_mtls),
    ("permissive", "PERMISSIVE takes plaintext and mTLS on the same port", permissive),
    ("strict-namespace", "Hot reload: the namespace turns STRICT", strict_namespace),
    ("strict-mesh", "Hot reload: the whole mesh turns STRICT through the root namespace", strict_mesh),
    ("strict-selector", "Hot reload: only app: customers is STRICT, through a selector", strict_selector),
    ("authorization-denied", "An AuthorizationPolicy denies, and names its line", authorization_denied),
    ("secure-naming", "A server with another identity than its service is not believed", secure_naming),
    ("nothing-behind", "A host with nothing behind it", nothing_behind),
    (
        "host-unlike-service",
        "A Host header unlike the service dialled, towards a STRICT peer",
        host_unlike_service,
    ),
    ("header-routing", "A header leads to v2", header_routing),
    ("rotation", "Certificates rotate under load", rotation),
];

const CUSTOMERS: &str = "customers.shop";
const ORDERS: &str = "orders.shop";
const FRONTEND_ID: &str = "spiffe://cluster.local/ns/web/sa/frontend";
const CUSTOMERS_ID: &str = "spiffe://cluster.local/ns/shop/sa/customers";
/// How often certificates rotate in the last step.
const ROTATIONS: u64 = 4;

fn mtls(stage: &mut Stage, step: &mut Step) -> Told {
    let answer = ask(stage, CUSTOMERS, "/mtls")?;
    expect(step, &answer, 200, &format!("customers v1 heard {FRONTEND_ID}"));
    let inbound = stage.customers_v1.logged(|entry| entry["path"] == "/mtls")?;
    let outbound = stage.frontend.logged(|entry| entry["path"] == "/mtls")?;
    step.check("the server's sidecar verified the client", inbound["source_principal"] == FRONTEND_ID);
    step.check("the client's sidecar verified the server", outbound["destination_principal"] == CUSTOMERS_ID);
    let (theirs, ours) = (&inbound["downstream_tls"], &outbound["upstream_tls"]);
    step.fact("client", inbound["source_principal"].clone());
    step.fact("server", outbound["destination_principal"].clone());
    for (fact, key) in [("tls_version", "version"), ("cipher", "cipher"), ("group", "group")] {
        step.check(
            format!("both sidecars agree on the {key}"),
            theirs[key].is_string() && theirs[key] == ours[key],
        );
        step.fact(fact, theirs[key].clone());
    }
    let status = stage.customers_v1.status()?;
    step.fact("backend", status["backend"].clone());
    step.fact("driver", status["driver"].clone());
    Ok(())
}

fn tls_modes(stage: &mut Stage, step: &mut Step) -> Told {
    for (mode, host, heard) in [
        ("DISABLE", "plain.partner.example", "plain partner heard somebody in plain text"),
        ("SIMPLE", "tls.partner.example", "TLS partner heard somebody without a certificate over TLS"),
        ("MUTUAL", "mutual.partner.example", "mutual TLS partner heard shop.example over TLS"),
        ("ISTIO_MUTUAL", CUSTOMERS, &format!("customers v1 heard {FRONTEND_ID}")),
    ] {
        let answer = ask(stage, host, "/")?;
        step.check(
            format!("{mode}: {}", shown(&answer)),
            answer.status == 200 && answer.body.trim() == heard,
        );
    }
    Ok(())
}

fn auto_mtls(stage: &mut Stage, step: &mut Step) -> Told {
    let answers = (0..8).map(|_| ask(stage, ORDERS, "/")).collect::<Result<Vec<_>, _>>()?;
    step.check("every request was answered", answers.iter().all(|answer| answer.status == 200));
    let heard = |text: &str| answers.iter().filter(|answer| answer.body.trim() == text).count();
    let with = heard(&format!("orders heard {FRONTEND_ID}"));
    let without = heard("orders without a sidecar heard somebody in plain text");
    step.check(format!("{with} went as mTLS to the endpoint with a sidecar"), with > 0);
    step.check(format!("{without} went as plaintext to the endpoint without"), without > 0);
    step.check("and none went otherwise", with + without == answers.len());
    Ok(())
}

fn permissive(stage: &mut Stage, step: &mut Step) -> Told {
    let plain = Client::fetch(stage.address(2, 8080), CUSTOMERS, "/").map_err(text)?;
    expect(step, &plain, 200, "customers v1 heard somebody in plain text");
    let answer = ask(stage, CUSTOMERS, "/")?;
    expect(step, &answer, 200, &format!("customers v1 heard {FRONTEND_ID}"));
    Ok(())
}

fn strict_namespace(stage: &mut Stage, step: &mut Step) -> Told {
    let mut kept = Client::connect(stage.address(2, 8080)).map_err(text)?;
    let before = kept.get(CUSTOMERS, "/", "").map_err(text)?;
    step.check("before, plaintext is taken", before.status == 200);
    stage.authenticate_peers(files::STRICT_NAMESPACE)?;
    step.check("the plaintext connection that was kept is closed", kept.closed_without_a_byte());
    refuses(stage, step, "customers", true)?;
    refuses(stage, step, "orders", true)?;
    refuses(stage, step, "frontend", false)?;
    why(&mut stage.customers_v1, step, "plaintext-to-strict")?;
    mtls_goes_on(stage, step)
}

fn strict_mesh(stage: &mut Stage, step: &mut Step) -> Told {
    stage.authenticate_peers(files::STRICT_MESH)?;
    for workload in ["customers", "orders", "frontend"] {
        refuses(stage, step, workload, true)?;
    }
    why(&mut stage.frontend, step, "plaintext-to-strict")?;
    mtls_goes_on(stage, step)
}

fn strict_selector(stage: &mut Stage, step: &mut Step) -> Told {
    stage.authenticate_peers(files::STRICT_CUSTOMERS)?;
    refuses(stage, step, "customers", true)?;
    refuses(stage, step, "orders", false)?;
    refuses(stage, step, "frontend", false)?;
    why(&mut stage.customers_v1, step, "plaintext-to-strict")?;
    mtls_goes_on(stage, step)
}

fn authorization_denied(stage: &mut Stage, step: &mut Step) -> Told {
    let answer = ask(stage, CUSTOMERS, "/admin/accounts")?;
    expect(step, &answer, 403, "RBAC: access denied");
    why(&mut stage.customers_v1, step, "denied-by-policy")
}

fn secure_naming(stage: &mut Stage, step: &mut Step) -> Told {
    let answer = ask(stage, "payments.shop", "/")?;
    expect(step, &answer, 503, "sidering: secure-naming-mismatch");
    let record = stage.frontend.refusal("secure-naming-mismatch")?;
    step.fact("reason", record["reason"].clone());
    step.fact("expected", record["expected"][0]["name"].clone());
    step.fact("presented", record["presented"]["names"][0].clone());
    step.check(
        "payments were expected, orders answered",
        record["expected"][0]["name"] == "spiffe://cluster.local/ns/shop/sa/payments"
            && record["presented"]["names"][0] == "spiffe://cluster.local/ns/shop/sa/orders",
    );
    Ok(())
}

fn nothing_behind(stage: &mut Stage, step: &mut Step) -> Told {
    let answer = ask(stage, "ghost.shop", "/")?;
    expect(step, &answer, 503, "sidering: connect-refused");
    let record = stage.frontend.refusal("connect-refused")?;
    step.fact("reason", record["reason"].clone());
    step.fact("upstream", record["upstream"].clone());
    Ok(())
}

/// The sidecar goes by the Host header; one that it does not know on this listener reaches nobody, least of all in
/// plain text.
fn host_unlike_service(stage: &mut Stage, step: &mut Step) -> Told {
    let only_customers = stage.address(1, ONLY_CUSTOMERS);
    let known = Client::fetch(only_customers, CUSTOMERS, "/").map_err(text)?;
    expect(step, &known, 200, &format!("customers v1 heard {FRONTEND_ID}"));
    let other = Client::fetch(only_customers, ORDERS, "/").map_err(text)?;
    expect(step, &other, 404, "sidering: unknown-host");
    let record = stage.frontend.refusal("unknown-host")?;
    step.fact("reason", record["reason"].clone());
    step.fact("host", record["request"]["host"].clone());
    step.fact("policy", record["origin"]["position"].clone());
    let direct = Client::is_refused(stage.address(2, 8080), ORDERS).map_err(text)?;
    step.check("dialled past the sidecar, in plain text, the STRICT peer closes", direct);
    Ok(())
}

fn header_routing(stage: &mut Stage, step: &mut Step) -> Told {
    let mut client = Client::connect(stage.address(1, OUTBOUND)).map_err(text)?;
    for (headers, version) in [("", "v1"), ("x-release: canary\r\n", "v2"), ("x-release: stable\r\n", "v1")] {
        let answer = client.get(CUSTOMERS, "/release", headers).map_err(text)?;
        let what = if headers.is_empty() { "without the header" } else { headers.trim_end() };
        let heard = format!("customers {version} heard {FRONTEND_ID}");
        step.check(
            format!("{what}: {}", shown(&answer)),
            answer.status == 200 && answer.body.trim() == heard,
        );
    }
    let entry = stage.customers_v2.logged(|entry| entry["path"] == "/release")?;
    step.check("v2 verified who asked", entry["source_principal"] == FRONTEND_ID);
    Ok(())
}

fn rotation(stage: &mut Stage, step: &mut Step) -> Told {
    let load = Load::start(stage.address(1, OUTBOUND), CUSTOMERS);
    let mut seen = 0;
    let rotated = (0..ROTATIONS).try_for_each(|_| {
        let (frontend, customers) = stage.rotate()?;
        stage.customers_v1.logged(|entry| entry["downstream_tls"]["peer_serial"] == frontend.as_str())?;
        stage.frontend.logged(|entry| entry["upstream_tls"]["peer_serial"] == customers.as_str())?;
        seen += 1;
        step.fact("serial_of_frontend", frontend);
        step.fact("serial_of_customers", customers);
        Ok::<_, String>(())
    });
    let tally = load.stop();
    step.check(format!("{seen} times each peer saw the other's new serial"), seen >= 3);
    step.check(format!("{} requests on kept connections", tally.kept), tally.kept > 0);
    step.check(format!("{} requests on new connections", tally.new), tally.new > 0);
    step.check(format!("{:.0} requests a second", tally.per_second), tally.per_second >= 100.0);
    let how = tally.first_failure.map(|how| format!(", the first with: {how}")).unwrap_or_default();
    step.check(format!("{} requests failed{how}", tally.failed), tally.failed == 0);
    step.fact("rotations", seen);
    step.fact("requests", tally.kept + tally.new);
    step.fact("requests_per_second", tally.per_second.round());
    step.fact("failed", tally.failed);
    rotated
}

/// What a user may try against a demo that is kept.
pub(super) fn what_to_try(stage: &Stage) -> String {
    let (outbound, customers, orders) =
        (stage.address(1, OUTBOUND), stage.address(2, 8080), stage.address(4, 8080));
    let directory = stage.directory().display();
    format!(
        "
Everything is left running until you press Ctrl-C. Its files are in {directory}. Try:
  curl -H 'Host: customers.shop' http://{outbound}/
  curl -H 'Host: customers.shop' -H 'x-release: canary' http://{outbound}/
  curl -H 'Host: customers.shop' http://{outbound}/admin       # denied by policy
  curl -H 'Host: payments.shop' http://{outbound}/             # secure naming
  curl http://{customers}/                                     # plaintext to STRICT
  curl http://{orders}/                                        # plaintext to PERMISSIVE
  sidering explain last --socket {directory}/run/customers-v1.sock
  sidering status --socket {directory}/run/frontend.sock
Edit {directory}/mesh/*.yaml and watch it take effect.
"
    )
}

/// From the frontend's application, through its sidecar.
fn ask(stage: &Stage, host: &str, path: &str) -> Result<Answer, String> {
    Client::fetch(stage.address(1, OUTBOUND), host, path).map_err(|error| format!("{host}{path}: {error}"))
}

fn expect(step: &mut Step, answer: &Answer, status: u16, body: &str) {
    step.check(shown(answer), answer.status == status && answer.body.trim() == body);
}

fn shown(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.body.trim())
}

/// Plaintext straight at a workload's inbound port is refused, or is not.
fn refuses(stage: &Stage, step: &mut Step, workload: &str, strict: bool) -> Told {
    let address = match workload {
        "customers" => stage.address(2, 8080),
        "orders" => stage.address(4, 8080),
        _ => stage.address(1, FRONTEND_INBOUND),
    };
    let refused = Client::is_refused(address, workload).map_err(text)?;
    let what = if strict { "is closed without a byte" } else { "is still answered" };
    step.check(format!("plaintext to {workload} {what}"), refused == strict);
    Ok(())
}

/// Puts the reason and the line that decided among the facts.
fn why(sidecar: &mut Sidecar, step: &mut Step, reason: &str) -> Told {
    let record = sidecar.refusal(reason)?;
    let position = &record["origin"]["position"];
    step.check(
        "the record names the policy's line",
        position.as_str().is_some_and(|line| line.contains(".yaml:")),
    );
    step.fact("reason", record["reason"].clone());
    step.fact("policy", position.clone());
    step.fact("policy_name", record["origin"]["label"].clone());
    Ok(())
}

fn mtls_goes_on(stage: &Stage, step: &mut Step) -> Told {
    let answer = ask(stage, CUSTOMERS, "/")?;
    step.check(format!("mTLS goes on: {}", shown(&answer)), answer.status == 200);
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
