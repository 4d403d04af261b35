//! Unix sockets as the application's leg, on either side.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use sidering_tests::{HOST, Pair, Run, curl, on_both_drivers};

on_both_drivers!(the_client_may_dial_a_unix_socket, the_application_may_listen_on_a_unix_socket);

fn the_client_may_dial_a_unix_socket(run: Run) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let socket = directory.path().join("egress.sock");
    let pair = Pair::with(run).yaml("unix.yaml", egress(&socket)).start();
    let url = format!("http://{HOST}/over-unix");
    let told = curl(&["--unix-socket", &socket.to_string_lossy(), &url]);
    assert_eq!(told.ok(), "this is server\n");
    assert!(pair.origin.last().header("x-forwarded-client-cert").is_some());
}

fn the_application_may_listen_on_a_unix_socket(run: Run) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let socket = directory.path().join("app.sock");
    let listener = UnixListener::bind(&socket).expect("the test's directory takes sockets");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.by_ref().take_while(|line| !line.is_empty()).count() > 0 {
                // A sidecar that is gone is the end of the test.
                let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix");
            }
        }
    });
    let pair = Pair::with(run).start();
    pair.put_behind(format!("unix://{}", socket.display()));
    let mut connection = pair.http();
    for _ in 0..2 {
        assert_eq!(connection.get(HOST, "/").text(), "unix");
    }
    assert_eq!(pair.origin.seen(), []);
}

/// In place of the pair's own Sidecar of the client: the older one wins, so the name sorts first.
fn egress(socket: &Path) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: a-client, namespace: default}}\n\
         spec:\n  workloadSelector: {{labels: {{app: client}}}}\n  egress:\n  \
         - bind: unix://{}\n    port: {{number: 8080, protocol: HTTP, name: http}}\n    captureMode: NONE\n    \
         hosts: ['*/*']\n",
        socket.display()
    )
}
