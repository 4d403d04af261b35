//! Whatever a certificate has in it, both sides take it and say the same of it.

use sidering_tests::{Inbound, Leaf, Pair, Run, on_both_drivers, on_every_backend, s_client};

on_every_backend!(certificates_of_istiod_are_taken_in_both_directions);
on_both_drivers!(both_say_the_same_of_a_client);

const CN: &str = "2.5.4.3";

fn client() -> Leaf {
    Leaf::workload("default", "client")
}

fn certificates_of_istiod_are_taken_in_both_directions(run: Run) {
    let of_istiod = || {
        let server = Leaf::workload("default", "server");
        Pair::with(run).client_leaf(client().of_istiod()).server_leaf(server.of_istiod())
    };
    let (to_us, from_us) = (of_istiod().envoy_client(), of_istiod().envoy_server(&Inbound::default()));
    assert_eq!((to_us.get("/").status, from_us.get("/").status), (200, 200));
    for seen in [to_us.origin.last(), from_us.origin.last()] {
        let said = seen.header("x-forwarded-client-cert").unwrap_or_default();
        assert!(said.contains(";Subject=\"\";URI=spiffe://cluster.local/ns/default/sa/client"), "{said}");
    }
}

fn both_say_the_same_of_a_client(run: Run) {
    let (ours, envoys) = (Pair::start(run), Pair::with(run).envoy_server(&Inbound::default()));
    // Those that occur in practice.
    let known = ["0.9.2342.19200300.100.1.1", "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"];
    let more = (3..=13).chain([15, 17]).chain(41..=46).chain([65]).map(|kind| format!("2.5.4.{kind}"));
    let known: Vec<_> = known.map(str::to_owned).into_iter().chain(more).collect();
    for leaf in [
        client().dns("a.example").dns("*.b.example"),
        client().subject([(CN, "a"), ("2.5.4.10", "Acme, Inc. + \"more\""), ("1.2.3.4", "unknown")]),
        client().subject([(CN, " <a>; b=c\\ "), ("2.5.4.11", "#\u{fc}\n")]),
        client().subject(known.iter().map(|oid| (oid.as_str(), "x"))),
    ] {
        assert_eq!(said(&ours, &leaf), said(&envoys, &leaf));
    }
}

/// What the server's sidecar says of a client with that certificate, but for the digest.
#[track_caller]
fn said<C, S>(pair: &Pair<C, S>, leaf: &Leaf) -> String {
    let request = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n";
    let files = pair.pki.issue("odd", leaf);
    let told = s_client(pair.server_http(), Some(&files), &["-alpn", "istio"], request);
    assert!(told.stdout.contains("this is server"), "{}{}", told.stdout, told.stderr);
    let seen = pair.origin.last();
    let said = seen.header("x-forwarded-client-cert").unwrap_or_default();
    let (by, rest) = said.split_once("Hash=").expect("both tell it");
    format!("{by}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()))
}
