//! Configuration that would cost more than it says: every file is answered with its line and what to write instead, in
//! bounded time and memory, and nothing that is refused changes what is in force.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use sidering_tests::peer_authentication;
use sidering_tests::{Bootstrap, Connection, Finished, Pair, Run, Sidecar, binary, on_both_drivers, run};

on_both_drivers!(what_is_refused_on_reload_and_at_start_changes_nothing);

/// What the largest file may take while it is read, in bytes of memory and in seconds. This build is not optimised.
const MEMORY: usize = 768 << 20;
const SECONDS: &str = "60";

const POLICY: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec:\n";
const ROUTES: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  \
                      hosts: [a.example]\n  http:\n";
const ENTRY: &str = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  \
                     hosts: [a.example]\n  resolution: STATIC\n";

fn sidering(directory: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new("timeout");
    command.args([SECONDS, "prlimit", &format!("--data={MEMORY}")]).arg(binary()).args(arguments);
    run(command.current_dir(directory), b"")
}

/// Ten lists, each of ten of the one before.
fn aliases() -> String {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, last) in ('b'..='j').zip('a'..) {
        let again = vec![format!("*{last}"); 10].join(", ");
        writeln!(text, "{name}: &{name} [{again}]").expect("a string takes text");
    }
    text
}

/// `unit` as often as it fits into `bytes`, between a head and a tail.
fn filled(head: &str, unit: &str, tail: &str, bytes: usize) -> String {
    let times = bytes.saturating_sub(head.len() + tail.len()) / unit.len();
    format!("{head}{}{tail}", unit.repeat(times))
}

fn numbered(head: &str, times: usize, unit: impl Fn(usize) -> String) -> String {
    (0..times).fold(head.to_owned(), |text, index| text + &unit(index))
}

#[test]
fn whatever_a_file_holds_is_answered_in_bounded_time_and_memory() {
    const MIB: usize = 1 << 20;
    let directory = tempfile::tempdir().expect("a directory can be made");
    let large = 10 * MIB;
    let rules = format!("{POLICY}  rules: [");
    let paths = format!("{POLICY}  rules: [{{to: [{{operation: {{paths: [");
    let regex = |pattern: &str| {
        format!("  - match: [{{uri: {{regex: \"{pattern}\"}}}}]\n    directResponse: {{status: 200}}\n")
    };
    for (name, text, code, expected) in [
        (
            "aliases",
            aliases(),
            1,
            "1:4: error: anchors are not supported; write the value out where it is needed",
        ),
        (
            "lists in lists",
            "[".repeat(large),
            1,
            "1:1: error: more than 1,000,000 of `,` `:` `[` `]` `{` `}`; split the file",
        ),
        (
            "few lists in lists",
            "[".repeat(300),
            1,
            "1:256: error: nested deeper than 64 levels; write it flatter",
        ),
        (
            "lists in lines",
            "- ".repeat(large / 2),
            1,
            "1:129: error: nested deeper than 64 levels; write it flatter",
        ),
        (
            "a list on one line",
            filled("a: [", "x,", "]", large),
            1,
            "1:1: error: more than 1,000,000 of `,` `:` `[` `]` `{` `}`; split the file",
        ),
        (
            "as many on one line as may be",
            filled(&"[".repeat(60), "x,", &"]".repeat(60), 1_990_000),
            1,
            "1:1: error: the document must be a mapping, not a list",
        ),
        (
            "a list in lines",
            filled("", "- a\n", "", large),
            1,
            "1000000:3: error: more than 1,000,000 values; split the file",
        ),
        (
            "documents",
            filled("", "---\na\n", "", large),
            1,
            "2000002:1: error: more than 1,000,000 values; split the file",
        ),
        (
            "a key that is written twice",
            format!("{POLICY}  action: DENY\n  action: ALLOW\n"),
            1,
            "6:3: error: `action` is written twice; keep one of them",
        ),
        (
            "wrong types",
            filled(&rules, "1,", "]", 1_990_000),
            1,
            "5:11: error: rule must be a mapping, not a number",
        ),
        (
            "fields that are unknown",
            numbered(POLICY, 400_000, |n| format!("  f{n}: 1\n")),
            1,
            "5:3: error: unknown field `f0` in AuthorizationPolicy spec",
        ),
        ("paths", numbered(&paths, 900_000, |n| format!("/{n:x},")) + "]}}]}]", 0, ""),
        (
            "a regex of many states",
            format!("{ROUTES}{}", regex("((a{99}){99}){99}")),
            1,
            "7:27: error: regex \"((a{99}){99}){99}\" cannot be used: it takes more than 1 MiB when compiled; repeat less",
        ),
        (
            "a long regex",
            format!("{ROUTES}{}", regex(&"a".repeat(1025))),
            1,
            "7:27: error: regex is longer than 1024 characters; use several matches",
        ),
        (
            "many regexes",
            numbered(ROUTES, 100, |n| regex(&format!("{n}[a-z]{{900}}"))),
            1,
            "*: error: the regular expressions take more than 64 MiB together; use exact or prefix",
        ),
        (
            "hosts",
            numbered(ENTRY, 300, |n| {
                if n == 0 { "  ports:\n".into() } else { format!("  - {{number: {n}, name: p{n}}}\n") }
            }),
            1,
            "8:5: error: ports takes at most 256 entries; use several resources",
        ),
        (
            "a namespace of many stars",
            format!("{POLICY}  rules: [{{from: [{{source: {{namespaces: [{}]}}}}]}}]\n", "a*".repeat(1000)),
            1,
            "5:42: error: a namespace has at most 253 characters, not 2000",
        ),
        ("no text", "\0".repeat(MIB), 1, "1:1: error: not valid YAML: found unprintable character"),
    ] {
        fs::write(directory.path().join("f.yaml"), text).expect("a file can be written");
        let told = sidering(directory.path(), &["lint", "f.yaml"]);
        assert_eq!(told.code, code, "{name}: {:.300} {:.300}", told.stdout, told.stderr);
        let found = match expected.strip_prefix('*') {
            Some(message) => told.stdout.lines().any(|line| line.contains(message)),
            None => {
                told.stdout.starts_with(&if code == 0 { String::new() } else { format!("f.yaml:{expected}") })
            }
        };
        assert!(found, "{name}: {:.300}", told.stdout);
        assert!(told.stdout.lines().count() <= 1001, "{name}: nobody reads {}", told.stdout.lines().count());
    }
}

#[test]
fn files_that_cannot_be_read_as_text_are_usage_errors_with_their_place() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("latin1.yaml"), b"# one\nname: caf\xe9\n").expect("a file can be written");
    fs::write(at("utf16.yaml"), b"\xff\xfea\0").expect("a file can be written");
    fs::write(at("large.yaml"), " ".repeat((10 << 20) + 1)).expect("a file can be written");
    fs::write(at("aliases.yaml"), aliases()).expect("a file can be written");
    fs::write(at("mesh.yaml"), format!("mesh:\n  {}", aliases().replace('\n', "\n  ")))
        .expect("a file can be written");
    fs::write(at("suite.yaml"), "include: [latin1.yaml]\n").expect("a file can be written");
    for (arguments, expected) in [
        (
            &["lint", "latin1.yaml"][..],
            "latin1.yaml:2:10: error: byte 0xe9 is not UTF-8; save the file as UTF-8",
        ),
        (
            &["check", "latin1.yaml"],
            "latin1.yaml:2:10: error: byte 0xe9 is not UTF-8; save the file as UTF-8",
        ),
        (
            &["check", "suite.yaml"],
            "suite.yaml:1:11: error: \"latin1.yaml\" cannot be included: latin1.yaml:2:10: error: byte 0xe9",
        ),
        (&["check", "aliases.yaml"], "aliases.yaml:1:4: error: anchors are not supported"),
        (
            &["run", "--config", "latin1.yaml"],
            "latin1.yaml:2:10: error: byte 0xe9 is not UTF-8; save the file as UTF-8",
        ),
        (&["run", "--config", "mesh.yaml"], "mesh.yaml:7:"),
        (&["lint", "utf16.yaml"], "utf16.yaml:1:1: error: byte 0xff is not UTF-8; save the file as UTF-8"),
        (&["lint", "large.yaml"], "large.yaml: larger than 10 MiB; split the file"),
        (&["check", "large.yaml"], "large.yaml: larger than 10 MiB; split the file"),
        (&["run", "--config", "large.yaml"], "large.yaml: larger than 10 MiB; split the file"),
        (&["lint", "/dev/zero"], "/dev/zero: larger than 10 MiB; split the file"),
    ] {
        let told = sidering(directory.path(), arguments);
        assert_eq!(told.code, 2, "{arguments:?}: {told:?}");
        assert!(told.stderr.starts_with(&format!("sidering: {expected}")), "{arguments:?}: {}", told.stderr);
    }
}

#[test]
fn files_may_not_hold_more_than_memory_does() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let mesh = directory.path().join("mesh");
    fs::create_dir(&mesh).expect("a directory can be made");
    for number in 0..7 {
        fs::write(mesh.join(format!("{number}.yaml")), "#".repeat(10 << 20)).expect("a file can be written");
    }
    let told = sidering(directory.path(), &["lint", "mesh"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(
        told.stderr.contains("mesh/6.yaml: with it the files hold more than 64 MiB; leave out"),
        "{}",
        told.stderr
    );
}

/// STRICT stays in force, whatever is put beside it; who starts with it does not start.
fn what_is_refused_on_reload_and_at_start_changes_nothing(run: Run) {
    let pair = Pair::with(run).yaml("strict.yaml", peer_authentication("default", "STRICT")).start();
    let mut second = Bootstrap::new(run, pair.directory(), "second", pair.subnet.ip(3), &pair.server_files);
    second.labels = vec![("app".into(), "nobody".into())];
    let hostile = pair.mesh.directory().join("hostile.yaml");
    for (content, problem) in [
        (aliases().into_bytes(), "mesh/hostile.yaml:1:4: error: anchors are not supported"),
        (
            "[".repeat(100).into_bytes(),
            "mesh/hostile.yaml:1:65: error: nested deeper than 64 levels; write it flatter",
        ),
        (b"spec: \xff".to_vec(), "mesh/hostile.yaml:1:7: error: byte 0xff is not UTF-8"),
        (b"spec: 1\nspec: 2\n".to_vec(), "mesh/hostile.yaml:2:1: error: `spec` is written twice"),
        (b"#".repeat((10 << 20) + 1), "mesh/hostile.yaml: larger than 10 MiB"),
        (
            b"kind: PeerAuthentication\napiVersion: security.istio.io/v3\n".to_vec(),
            "mesh/hostile.yaml:1:1: error: PeerAuthentication has no apiVersion",
        ),
    ] {
        let version = pair.server.version();
        fs::write(&hostile, content).expect("a file can be written");
        let status = pair.server.wait_stale(problem);
        assert_eq!(status["version"], version, "{status:#}");
        Connection::to(pair.server_http()).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
        assert_eq!(pair.get("/").status, 200);
        let told = Sidecar::refused(&second);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.stderr.contains(problem), "{}", told.stderr);
        fs::remove_file(&hostile).expect("it is there");
        pair.server.wait_current();
    }
    run_mkfifo(&hostile);
    pair.server.wait_stale("mesh/hostile.yaml: not a regular file; remove it");
    assert_eq!(Sidecar::refused(&second).code, 2);
    Connection::to(pair.server_http()).send("GET / HTTP/1.1\r\n\r\n").expect_closed_without_a_byte();
}

fn run_mkfifo(path: &Path) {
    run(Command::new("mkfifo").arg(path), b"").ok();
}
