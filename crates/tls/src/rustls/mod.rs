//! The rustls backend: configurations, ticket keys, and the connection.

mod session;
mod verify;

use std::sync::Arc;

use crate::{ClientParameters, ConfigFailure, Failure, ServerParameters};

pub(crate) use session::Connection;

#[derive(Clone, Debug)]
pub(crate) struct Server;
#[derive(Clone, Debug)]
pub(crate) struct Client;

pub(crate) struct Tickets;

impl Tickets {
    pub(crate) fn new() -> Self {
        todo!()
    }
}

impl Server {
    pub(crate) fn build(_: &ServerParameters<'_>, _alpn: Vec<Vec<u8>>) -> Result<Self, ConfigFailure> {
        todo!()
    }
    pub(crate) fn session(&self, _offered: &[Box<str>]) -> Result<Connection, Failure> {
        todo!()
    }
}
impl Client {
    pub(crate) fn build(_: &ClientParameters<'_>, _alpn: Vec<Vec<u8>>) -> Result<Self, ConfigFailure> {
        todo!()
    }
    pub(crate) fn session(&self, _name: Option<&str>) -> Result<Connection, Failure> {
        todo!()
    }
}
