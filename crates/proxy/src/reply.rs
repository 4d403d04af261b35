//! What a client is told of a refusal: a status and the reason's name. Detail is for the operator.

use sidering_http::{Done, HeaderName, Headers, Responder, ResponseHead};

use crate::Reason;
use crate::io::Io;

const CONTENT_TYPE: HeaderName = HeaderName::from_static("content-type");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A reply of our own.
pub(crate) struct Reply {
    reason: Reason,
    grpc: bool,
}

impl Reply {
    pub(crate) fn of(reason: Reason, grpc: bool) -> Self {
        Self { reason, grpc }
    }

    /// As it is counted; 0 where nothing is sent.
    pub(crate) fn status(&self) -> u16 {
        match self.reason.status() {
            Some(_) if self.grpc => 200,
            Some(status) => status,
            None => 0,
        }
    }

    pub(crate) fn body_length(&self) -> u64 {
        if self.grpc || self.reason.status().is_none() { 0 } else { self.reason.body().len() as u64 }
    }

    /// gRPC clients read a status of their own, in a response that is a success as far as HTTP goes (gRPC over HTTP/2,
    /// "Trailers-Only").
    pub(crate) fn send(self, mut responder: Responder<Io>) -> Done {
        if self.reason.status().is_none() {
            return responder.close();
        }
        if self.reason.closes() {
            responder.close_afterwards();
        }
        let mut head = ResponseHead::new(self.status());
        let body = self.reason.body();
        if self.grpc {
            head.headers.append(&CONTENT_TYPE, "application/grpc");
            head.headers.append(&GRPC_STATUS, self.reason.grpc_status().to_string());
            head.headers.append(&GRPC_MESSAGE, body);
            return responder.respond_full(&head, b"");
        }
        head.headers.append(&CONTENT_TYPE, "text/plain");
        responder.respond_full(&head, body.as_bytes())
    }
}

/// Does the client speak gRPC?
pub(crate) fn is_grpc(headers: &Headers) -> bool {
    headers.get("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// gRPC's status, where a response has nothing but its head: else it is in the trailers.
pub(crate) fn grpc_status(headers: &Headers) -> Option<u8> {
    std::str::from_utf8(headers.get("grpc-status")?).ok()?.parse().ok().filter(|&status| status <= 16)
}
