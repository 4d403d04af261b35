//! Headers that concern one connection only (RFC 9110, 7.6.1). Called by the relay for every head it forwards.

use crate::Headers;

/// Removes Connection and every header it names, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, and TE
/// except for `trailers`. A WebSocket upgrade is `RequestHead::websocket`, so it is not lost by this.
pub fn strip_hop_by_hop(_headers: &mut Headers) {
    todo!()
}
