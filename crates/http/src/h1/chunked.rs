//! The chunked transfer coding (RFC 9112, 7.1), received. Extensions are dropped, sizes and line endings are exact.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::read::{self, Scan};
use crate::{Headers, Limits, Malformed};

/// Where in a chunked body the next byte lies.
#[derive(Debug, Default)]
pub(super) enum Chunked {
    /// In a size line.
    #[default]
    Size,
    /// In data, of which this much is left.
    Data(u64),
    /// In the CRLF after data.
    DataEnd,
    /// In the trailer section.
    Trailers(Scan),
    /// Behind it all.
    Ended,
}

/// What a step through a body gave.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes of the body, not empty.
    Data(Bytes),
    /// The body is complete.
    End,
    /// More input is needed.
    Incomplete,
}

impl Chunked {
    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Chunked::Ended)
    }

    /// Takes the next piece off the front of `input`; `trailers` are filled before the end.
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        limits: &Limits,
        trailers: &mut Headers,
    ) -> Result<Piece, Malformed> {
        loop {
            match self {
                Chunked::Ended => return Ok(Piece::End),
                Chunked::Size => match take_size(input, limits.chunk_line_bytes)? {
                    None => return Ok(Piece::Incomplete),
                    Some(0) => *self = Chunked::Trailers(Scan::default()),
                    Some(size) => *self = Chunked::Data(size),
                },
                Chunked::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    if taken == 0 {
                        return Ok(Piece::Incomplete);
                    }
                    *left -= taken as u64;
                    if *left == 0 {
                        *self = Chunked::DataEnd;
                    }
                    return Ok(Piece::Data(input.split_to(taken).freeze()));
                }
                Chunked::DataEnd => {
                    if !b"\r\n".starts_with(&input[..input.len().min(2)]) {
                        return Err(Malformed::Chunk);
                    }
                    if input.len() < 2 {
                        return Ok(Piece::Incomplete);
                    }
                    input.advance(2);
                    *self = Chunked::Size;
                }
                Chunked::Trailers(scan) => {
                    let limit = limits.trailer_bytes;
                    let end = scan.find_end(input)?;
                    if end.unwrap_or(input.len()) > limit {
                        return Err(Malformed::TrailersTooLarge { limit });
                    }
                    let Some(end) = end else { return Ok(Piece::Incomplete) };
                    *trailers = read::trailers(input.split_to(end).freeze(), limits)?;
                    *self = Chunked::Ended;
                }
            }
        }
    }
}

/// Takes a size line off the front of `input`, if it is complete.
fn take_size(input: &mut BytesMut, limit: usize) -> Result<Option<u64>, Malformed> {
    let window = &input[..input.len().min(limit)];
    let Some(end) = memchr(b'\n', window) else {
        // No need to wait for the end of a line that cannot become a size.
        return match window.first() {
            Some(byte) if !byte.is_ascii_hexdigit() => Err(Malformed::Chunk),
            _ if window.len() == limit => Err(Malformed::ChunkLineTooLong { limit }),
            _ => Ok(None),
        };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Malformed::LineEnding)?;
    let size = parse_size(line)?;
    input.advance(end + 1);
    Ok(Some(size))
}

/// `1*HEXDIG`, below 2^63, then nothing or an extension.
fn parse_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    if size.is_empty() || size.len() > 16 {
        return Err(Malformed::Chunk);
    }
    // Whitespace is allowed before `;` only (RFC 9112, 7.1.1): trailing blanks alone are refused.
    let blank = extension.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let extended = extension.get(blank) == Some(&b';');
    let clean = extension.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    if !(extension.is_empty() || (extended && clean)) {
        return Err(Malformed::Chunk);
    }
    let text = std::str::from_utf8(size).map_err(|_| Malformed::Chunk)?;
    u64::from_str_radix(text, 16).ok().filter(|size| *size <= i64::MAX as u64).ok_or(Malformed::Chunk)
}

#[cfg(test)]
mod tests;
