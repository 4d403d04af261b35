//! Who asks on the wire: a plain socket, or TLS by `openssl s_client`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use sidering_tests::{Files, PATIENCE, run};
use socket2::{Domain, Socket, Type};

/// TLS as the client begins it.
#[derive(Default)]
pub(super) struct Tls {
    /// Of the certificate that it presents.
    pub(super) principal: Option<String>,
    pub(super) alpn: Vec<String>,
    pub(super) server_name: Option<String>,
}

/// Sends bytes in plaintext and gives what comes back until the server closes.
pub(super) fn send(from: IpAddr, to: SocketAddr, bytes: &[u8]) -> String {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("there are sockets left");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("a loopback address can be bound");
    // A connection that is refused may be reset, even as it is made; what came before counts.
    let connected = socket.connect(&to.into());
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut reply = Vec::new();
    let _ = connected.and_then(|()| stream.write_all(bytes)).and_then(|()| stream.read_to_end(&mut reply));
    String::from_utf8_lossy(&reply).into_owned()
}

/// The same within TLS.
pub(super) fn send_tls(
    from: IpAddr,
    to: SocketAddr,
    tls: &Tls,
    certificate: Option<&Files>,
    bytes: &[u8],
) -> String {
    let mut client = Command::new("timeout");
    client.args(["20", "openssl", "s_client", "-quiet", "-connect", &to.to_string()]);
    // The system's authorities take longer to read than all the rest.
    client.args(["-no-CAfile", "-no-CApath", "-no-CAstore", "-bind", &format!("{from}:0")]);
    match &tls.server_name {
        Some(name) => client.args(["-servername", name]),
        None => client.arg("-noservername"),
    };
    if !tls.alpn.is_empty() {
        client.args(["-alpn", &tls.alpn.join(",")]);
    }
    if let Some(files) = certificate {
        client.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
    }
    run(&mut client, bytes).stdout
}
