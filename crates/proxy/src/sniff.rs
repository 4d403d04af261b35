//! Reads as many first bytes as the listener's chains need to be told apart, and not one more: is it TLS, with which
//! SNI and ALPN; is it HTTP? What was read comes back in front of the stream.

use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sidering_http::{Detected, detect};
use sidering_net::{Prefixed, Scratch, TcpStream, deadline, now};
use sidering_policy::{Listener, Needs, Transport};
use sidering_tls::{Inspected, inspect};

use crate::connection::Connection;
use crate::refused::{Refused, Stage};
use crate::{Detection, Phase, Reason, RequestLine, Span};

/// What the first bytes say.
pub(crate) struct Sniffed {
    pub(crate) io: Prefixed<TcpStream>,
    pub(crate) transport: Transport,
    pub(crate) server_name: Option<Box<str>>,
    /// As `policy::Facts` wants them: offered by TLS, or sniffed.
    pub(crate) application_protocols: Vec<Box<str>>,
    pub(crate) detected: Detection,
}

/// Whoever has begun a hello or a request line must finish it within this: Envoy's
/// `transport_socket_connect_timeout` in Istio's listeners is as long.
const BEGUN: Duration = Duration::from_secs(10);

/// A client that stays silent is kept for this long where Istio would wait for ever.
const SILENT: Duration = Duration::from_secs(3600);

/// As much as a connection's listener has to know; `None` if the client closed without a byte, which is nobody's fault.
pub(crate) async fn first_bytes(
    connection: &Connection,
    listener: &Listener,
    stream: TcpStream,
) -> Stage<Option<Sniffed>> {
    let (tally, began) = (connection.tally(), now());
    let needs = sidering_policy::needs(listener, connection.destination);
    let sniffing = pin!(sniff(stream, needs, listener.detection_timeout));
    let sniffed = connection.unless_aborted(sniffing).await.and_then(|sniffed| sniffed);
    match &sniffed {
        _ if needs == Needs::default() => {}
        Ok(Some(sniffed)) => {
            tally.detected(sniffed.detected);
            tally.took(Span::Sniff, now() - began);
        }
        Ok(None) | Err(_) => tally.detected(Detection::Closed),
    }
    sniffed
}

async fn sniff(
    mut stream: TcpStream,
    needs: Needs,
    detection_timeout: Option<Duration>,
) -> Stage<Option<Sniffed>> {
    let mut bytes = BytesMut::new();
    let mut until = now() + detection_timeout.unwrap_or(SILENT);
    loop {
        if let Some(verdict) = conclude(&bytes, needs)? {
            return Ok(Some(verdict.sniffed(stream, bytes)));
        }
        match read(&mut stream, &mut bytes, until).await {
            Read::Some if detection_timeout.is_none() => until = until.min(now() + BEGUN),
            Read::Some => {}
            Read::End if bytes.is_empty() => return Ok(None),
            Read::Elapsed if bytes.is_empty() && detection_timeout.is_none() => return Ok(None),
            // As Envoy's listener filters do on a timeout: go on with what there is.
            Read::End | Read::Elapsed => {
                let sniffed = Verdict::Raw(None).sniffed(stream, bytes);
                return Ok(Some(Sniffed { detected: Detection::Timeout, ..sniffed }));
            }
            Read::Failed(error) => {
                return Err(Refused::new(Phase::Sniff, Reason::from(&error), error.to_string()));
            }
        }
    }
}

enum Verdict {
    Tls(sidering_tls::ClientHello),
    /// With the HTTP version, where one was looked for and found.
    Raw(Option<&'static str>),
}

/// `None`: more is needed.
fn conclude(bytes: &[u8], needs: Needs) -> Stage<Option<Verdict>> {
    if needs.tls {
        match inspect(bytes) {
            Inspected::Incomplete => return Ok(None),
            Inspected::Hello(hello) => return Ok(Some(Verdict::Tls(hello))),
            Inspected::Malformed(why) => {
                return Err(Refused::new(Phase::Sniff, Reason::MalformedClientHello, why));
            }
            Inspected::NotTls => {}
        }
    }
    if !needs.http {
        return Ok(Some(Verdict::Raw(None)));
    }
    let http = match detect(bytes) {
        Detected::Incomplete => return Ok(None),
        Detected::Http10 => Some("http/1.0"),
        Detected::Http11 => Some("http/1.1"),
        Detected::H2Preface => Some("h2c"),
        Detected::Other => None,
    };
    Ok(Some(Verdict::Raw(http)))
}

impl Verdict {
    fn sniffed(self, stream: TcpStream, bytes: BytesMut) -> Sniffed {
        let io = Prefixed::new(stream, bytes);
        match self {
            Self::Tls(hello) => Sniffed {
                io,
                transport: Transport::Tls,
                server_name: hello.server_name.map(|name| name.to_ascii_lowercase().into()),
                application_protocols: hello.alpn,
                detected: Detection::Tls,
            },
            Self::Raw(http) => Sniffed {
                io,
                transport: Transport::Raw,
                server_name: None,
                application_protocols: http.into_iter().map(Into::into).collect(),
                detected: match http {
                    Some("h2c") => Detection::Http2,
                    Some(_) => Detection::Http1,
                    None => Detection::Other,
                },
            },
        }
    }
}

enum Read {
    Some,
    End,
    Elapsed,
    Failed(std::io::Error),
}

/// Through the core's scratch buffer: a connection that has sent nothing holds no buffer.
async fn read(stream: &mut TcpStream, bytes: &mut BytesMut, until: Instant) -> Read {
    let fill = poll_fn(|cx| {
        let mut scratch = Scratch::take();
        let filled = std::task::ready!(scratch.poll_fill(stream, cx));
        std::task::Poll::Ready(filled.map(|new| {
            bytes.extend_from_slice(new);
            new.len()
        }))
    });
    match deadline(until, fill).await {
        Err(_elapsed) => Read::Elapsed,
        Ok(Err(error)) => Read::Failed(error),
        Ok(Ok(0)) => Read::End,
        Ok(Ok(_)) => Read::Some,
    }
}

/// The request line and Host of plaintext that was refused unread: for the record only, so it may guess.
pub(crate) fn request_line(bytes: &[u8]) -> Option<RequestLine> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/") {
        return None;
    }
    let host = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map_or("", |(_, value)| value.trim());
    let path = target.split('?').next().unwrap_or(target);
    Some(RequestLine {
        method: method.to_owned(),
        host: host.to_owned(),
        path: path.to_owned(),
        remote_ip: None,
    })
}

#[cfg(test)]
mod tests {
    use super::request_line;

    #[test]
    fn the_first_line_of_refused_plaintext_is_read_without_its_query() {
        let line =
            request_line(b"POST /pay?card=1 HTTP/1.1\r\nA: b\r\nhOsT: shop:80 \r\n\r\nHost: body").unwrap();
        assert_eq!((&*line.method, &*line.host, &*line.path), ("POST", "shop:80", "/pay"));
    }

    #[test]
    fn what_is_no_request_is_no_line() {
        for bytes in [&b""[..], b"\x16\x03\x01", b"GET /", b"EHLO mail example\r\n", b"\xff\xfe \xff HTTP"] {
            assert_eq!(request_line(bytes), None);
        }
        assert_eq!(request_line(b"GET / HTTP/1.1").unwrap().host, "", "cut off before Host");
    }
}
