//! How long a body is and whether the connection is kept: read from the headers of one head, RFC 9112, 6 and 9.3.
//! What two recipients could read in two ways is refused, never repaired.

use crate::hop::tokens;
use crate::{Length, Malformed, Version};

/// What the headers of one head said about the message and its connection.
#[derive(Default)]
pub(super) struct Seen<'a> {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    protocols: Vec<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) expects: bool,
}

impl<'a> Seen<'a> {
    /// Notes one header. False if it frames the message and so does not belong in the list.
    pub(super) fn note(&mut self, name: &str, value: &'a [u8]) -> Result<bool, Malformed> {
        // The length first: most headers need no more than that.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => match self.host.replace(value) {
                None => {}
                Some(_) => return Err(Malformed::HostRepeated),
            },
            6 if name.eq_ignore_ascii_case("expect") => self.expects = true,
            7 if name.eq_ignore_ascii_case("upgrade") => self.protocols.push(value),
            10 if name.eq_ignore_ascii_case("connection") => self.note_connection(value),
            14 if name.eq_ignore_ascii_case("content-length") => {
                if self.content_length.replace(parse_length(value)?).is_some() {
                    return Err(Malformed::ContentLength);
                }
                return Ok(false);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
                    return Err(Malformed::TransferEncoding);
                }
                self.chunked = true;
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }

    fn note_connection(&mut self, value: &[u8]) {
        for token in tokens(value) {
            self.close |= token.eq_ignore_ascii_case("close");
            self.keep_alive |= token.eq_ignore_ascii_case("keep-alive");
            self.upgrade |= token.eq_ignore_ascii_case("upgrade");
        }
    }

    /// The length of a request's body.
    pub(super) fn request_length(&self, version: Version) -> Result<Length, Malformed> {
        self.announced(version, Length::Empty)
    }

    /// The length of a response's body, for statuses that can have one; without framing headers it ends with the
    /// connection.
    pub(super) fn response_length(&self, version: Version) -> Result<Length, Malformed> {
        self.announced(version, Length::Unknown)
    }

    fn announced(&self, version: Version, without: Length) -> Result<Length, Malformed> {
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(Malformed::LengthAndEncoding),
            (None, true) if version == Version::Http10 => Err(Malformed::EncodingNotAllowed),
            (None, true) => Ok(Length::Unknown),
            (Some(length), false) => Ok(Length::Exact(length)),
            (None, false) => Ok(without),
        }
    }

    /// Whether a body's end is marked by chunks.
    pub(super) fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// Whether the sender keeps the connection after this exchange.
    pub(super) fn keeps_connection(&self, version: Version) -> bool {
        !self.close && (version != Version::Http10 || self.keep_alive)
    }

    /// Whether exactly an upgrade to WebSocket is asked for or confirmed (RFC 6455, 4).
    pub(super) fn is_websocket(&self) -> bool {
        self.upgrade && matches!(&self.protocols[..], [only] if only.eq_ignore_ascii_case(b"websocket"))
    }
}

/// One decimal number below 2^63, digits only.
fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits).ok_or(Malformed::ContentLength)?;
    text.parse().ok().filter(|length| *length <= i64::MAX as u64).ok_or(Malformed::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (text, expected) in
            [("0", Some(0)), ("5", Some(5)), ("007", Some(7)), ("9223372036854775807", Some(i64::MAX as u64))]
        {
            assert_eq!(parse_length(text.as_bytes()).ok(), expected, "{text}");
        }
        for bad in [
            "",
            " ",
            ",",
            "5,5",
            "5, 5",
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5;",
            "5.0",
            "9223372036854775808",
            "18446744073709551621",
            "00000000000000000005",
            "\u{665}",
        ] {
            assert_eq!(parse_length(bad.as_bytes()), Err(Malformed::ContentLength), "{bad}");
        }
    }
}
