//! The body being received: which framing it has and how far it came. Pure; `connection` brings the bytes.

use bytes::BytesMut;

use super::chunked::{Chunked, Piece};
use crate::{Headers, Length, Limits, Malformed};

/// A body being received.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) length: Length,
    pub(super) trailers: Headers,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No head yet.
    Waiting,
    Exact(u64),
    Chunked(Chunked),
    UntilClose,
    Ended,
    /// Malformed, truncated or given up: what follows has no meaning.
    Failed,
}

impl Decoder {
    /// No message yet.
    pub(super) fn waiting() -> Self {
        Self { length: Length::Empty, trailers: Headers::new(), state: State::Waiting }
    }

    /// The body of a request.
    pub(super) fn request(length: Length) -> Self {
        Self::new(length, true, true)
    }

    /// The body of a response. `has_body`: bytes follow; `chunked`: their end is marked.
    pub(super) fn new(length: Length, has_body: bool, chunked: bool) -> Self {
        let state = match length {
            _ if !has_body => State::Ended,
            Length::Empty | Length::Exact(0) => State::Ended,
            Length::Exact(bytes) => State::Exact(bytes),
            Length::Unknown if chunked => State::Chunked(Chunked::default()),
            Length::Unknown => State::UntilClose,
        };
        Self { length, trailers: Headers::new(), state }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether `next` has nothing to give: no message yet, or one that broke off.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, State::Failed | State::Waiting)
    }

    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
    }

    /// Takes the next piece off the front of `input`.
    pub(super) fn next(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Piece, Malformed> {
        match &mut self.state {
            State::Ended => Ok(Piece::End),
            State::Waiting | State::Failed => Ok(Piece::Incomplete),
            State::Chunked(chunked) => {
                let piece = gathered(chunked, input, limits, &mut self.trailers)?;
                if chunked.is_ended() {
                    self.state = State::Ended;
                }
                Ok(piece)
            }
            State::Exact(_) | State::UntilClose if input.is_empty() => Ok(Piece::Incomplete),
            State::UntilClose => Ok(Piece::Data(input.split().freeze())),
            State::Exact(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Ended;
                }
                Ok(Piece::Data(input.split_to(taken).freeze()))
            }
        }
    }

    /// The stream ended; whether the body is complete by that.
    pub(super) fn end_of_input(&mut self) -> bool {
        let complete = matches!(self.state, State::UntilClose | State::Ended);
        self.state = if complete { State::Ended } else { State::Failed };
        complete
    }

    /// Bytes still to come, if known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.state {
            State::Ended => Some(0),
            State::Exact(left) => Some(left),
            _ => None,
        }
    }
}

/// Data smaller than this is joined with what follows it in the input.
const SMALL: usize = 4 * 1024;

/// The next piece, where chunks of a few bytes make one piece together: what a piece costs further on must not be
/// the sender's choice.
fn gathered(
    chunked: &mut Chunked,
    input: &mut BytesMut,
    limits: &Limits,
    trailers: &mut Headers,
) -> Result<Piece, Malformed> {
    let first = match chunked.next(input, limits, trailers)? {
        Piece::Data(first) if first.len() < SMALL && !input.is_empty() => first,
        piece => return Ok(piece),
    };
    let mut joined = BytesMut::from(&first[..]);
    while joined.len() < SMALL
        && let Piece::Data(more) = chunked.next(input, limits, trailers)?
    {
        joined.extend_from_slice(&more);
    }
    Ok(Piece::Data(joined.freeze()))
}
