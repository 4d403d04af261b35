//! The body being sent: which framing it has and how far it came. Pure; `connection` sends the bytes.

use bytes::{Bytes, BytesMut};

use super::output::Output;
use super::write::{self, Framing};
use crate::{Headers, Length};

/// A body being sent.
#[derive(Debug)]
pub(super) struct Encoder {
    state: State,
    pub(super) written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// The head is still to come.
    Waiting,
    /// The message can have no body: data is dropped.
    Bodiless,
    /// So many bytes are left.
    Exact(u64),
    Chunked,
    UntilClose,
    Ended,
    /// The data did not fit the length that the head announced.
    WrongLength,
}

impl Encoder {
    /// No head yet.
    pub(super) fn waiting() -> Self {
        Self { state: State::Waiting, written: 0 }
    }

    /// The body of a request, and how its head announces it.
    pub(super) fn request(length: Length) -> (Self, Framing) {
        match length {
            Length::Empty => Self::with(State::Exact(0), Framing::Silent),
            Length::Exact(bytes) => Self::with(State::Exact(bytes), Framing::Length(bytes)),
            Length::Unknown => Self::with(State::Chunked, Framing::Chunked),
        }
    }

    /// The body of a response, and how its head announces it. `to_head`: it answers HEAD; `chunks`: the client knows
    /// chunks.
    pub(super) fn response(status: u16, length: Length, to_head: bool, chunks: bool) -> (Self, Framing) {
        match (status, length) {
            (204, _) | (304, Length::Empty | Length::Unknown) => Self::with(State::Bodiless, Framing::Silent),
            (304, Length::Exact(bytes)) => Self::with(State::Bodiless, Framing::Length(bytes)),
            _ if to_head => Self::with(
                State::Bodiless,
                match length {
                    Length::Exact(bytes) => Framing::Length(bytes),
                    Length::Unknown if chunks => Framing::Chunked,
                    Length::Empty | Length::Unknown => Framing::Silent,
                },
            ),
            (_, Length::Empty) => Self::with(State::Exact(0), Framing::Length(0)),
            (_, Length::Exact(bytes)) => Self::with(State::Exact(bytes), Framing::Length(bytes)),
            (_, Length::Unknown) if chunks => Self::with(State::Chunked, Framing::Chunked),
            (_, Length::Unknown) => Self::with(State::UntilClose, Framing::Silent),
        }
    }

    fn with(state: State, framing: Framing) -> (Self, Framing) {
        (Self { state, written: 0 }, framing)
    }

    /// Whether the whole message was queued. Where its head told its length, no end has to be marked.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Exact(0) | State::Bodiless)
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_by_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Whether the data did not fit.
    pub(super) fn is_wrong(&self) -> bool {
        self.state == State::WrongLength
    }

    /// Queues a piece.
    pub(super) fn write(&mut self, data: Bytes, out: &mut Output) {
        let size = data.len();
        if size == 0 {
            return;
        }
        match self.state {
            State::Exact(left) => match left.checked_sub(size as u64) {
                Some(left) => {
                    self.state = State::Exact(left);
                    out.push(data);
                }
                None => return self.state = State::WrongLength,
            },
            State::Chunked => {
                write::chunk_size(out.end(), size);
                out.push(data);
                out.end().extend_from_slice(b"\r\n");
            }
            State::UntilClose => out.push(data),
            State::Waiting | State::Bodiless | State::Ended | State::WrongLength => return,
        }
        self.written += size as u64;
    }

    /// Queues the end.
    pub(super) fn end(&mut self, trailers: &Headers, out: &mut BytesMut) {
        self.state = match self.state {
            State::Exact(left) if left > 0 => State::WrongLength,
            State::Chunked => {
                write::last_chunk(out, trailers);
                State::Ended
            }
            State::Bodiless | State::Exact(_) | State::UntilClose | State::Ended => State::Ended,
            State::Waiting | State::WrongLength => State::WrongLength,
        };
    }

    /// The message ended with its head, as 101 does.
    pub(super) fn end_with_head(&mut self) {
        self.state = State::Ended;
    }
}
