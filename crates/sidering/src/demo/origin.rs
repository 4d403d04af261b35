//! The demo's applications: they answer every request with who they are and whom they heard, in plain text, or over
//! TLS of their own where they play a partner outside the mesh.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use sidering_identity::read_leaf;

use super::partner::{Accepted, Partner};

/// How an application is reached.
#[derive(Clone)]
pub(super) enum Speaks {
    /// What a sidecar forwards, or anybody else in the clear.
    Plain,
    /// Its own TLS.
    Tls(Partner),
}

/// Serves until the process ends, on threads of its own.
pub(super) fn serve(name: &'static str, address: SocketAddr, speaks: Speaks) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let speaks = speaks.clone();
            // A connection that fails is the client's to tell about.
            thread::spawn(move || converse(name, stream, speaks));
        }
    });
    Ok(())
}

fn converse(name: &str, stream: TcpStream, speaks: Speaks) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match speaks {
        Speaks::Plain => answer_all(stream, |caller| match caller {
            Some(caller) => format!("{name} heard {caller}\n"),
            None => format!("{name} heard somebody in plain text\n"),
        }),
        Speaks::Tls(partner) => {
            let Accepted { stream, leaf } = partner.accept(stream)?;
            let body = match leaf.and_then(|leaf| read_leaf(&leaf).ok()) {
                Some(leaf) => format!("{name} heard {} over TLS\n", leaf.dns.join(", ")),
                None => format!("{name} heard somebody without a certificate over TLS\n"),
            };
            answer_all(stream, |_| body.clone())
        }
    }
}

/// Answers every request with what `says` makes of the caller that the sidecar vouches for.
fn answer_all<S: Read + Write>(stream: S, says: impl Fn(Option<&str>) -> String) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut caller = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                header => caller = caller.or_else(|| forwarded_identity(header)),
            }
        }
        let body = says(caller.as_deref());
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        reader.get_mut().write_all((head + &body).as_bytes())?;
        reader.get_mut().flush()?;
    }
}

/// The URI of `x-forwarded-client-cert`.
fn forwarded_identity(header: &str) -> Option<String> {
    let (name, value) = header.split_once(':')?;
    if !name.eq_ignore_ascii_case("x-forwarded-client-cert") {
        return None;
    }
    let uri = value.trim().split(';').find_map(|part| part.strip_prefix("URI="))?;
    Some(uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_what_the_sidecar_vouches_for() {
        let header = "X-Forwarded-Client-Cert: By=spiffe://td/ns/a/sa/b;Hash=00;Subject=\"\";URI=spiffe://td/ns/c/sa/d";
        assert_eq!(forwarded_identity(header).as_deref(), Some("spiffe://td/ns/c/sa/d"));
        assert_eq!(forwarded_identity("X-Other: URI=spiffe://td/ns/c/sa/d"), None);
    }
}
