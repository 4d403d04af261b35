//! A BoringSSL connection behind [`Session`](crate::session::Session)'s methods.
use crate::session::Taken;
use crate::{Failure, Handshake};
use tokio::io::ReadBuf;

pub(crate) struct Connection;

impl Connection {
    pub(crate) fn feed(&mut self, _cipher: &[u8], _wire: &mut Vec<u8>) -> Result<(), Failure> {
        todo!()
    }
    pub(crate) fn take_plaintext(
        &mut self,
        _buf: &mut ReadBuf<'_>,
        _wire: &mut Vec<u8>,
    ) -> Result<Taken, Failure> {
        todo!()
    }
    pub(crate) fn seal(&mut self, _plain: &[u8], _wire: &mut Vec<u8>) -> Result<(), Failure> {
        todo!()
    }
    pub(crate) fn close(&mut self, _wire: &mut Vec<u8>) {
        todo!()
    }
    pub(crate) fn is_handshaking(&self) -> bool {
        todo!()
    }
    pub(crate) fn agreed(&self) -> Result<Handshake, Failure> {
        todo!()
    }
}
