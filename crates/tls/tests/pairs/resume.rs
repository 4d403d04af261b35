//! Sessions that go on, and those that must not.

use sidering_identity::read_leaf;
use sidering_tls::{ClientConfig, ClientTrust, Handshake, ServerConfig, TicketKeys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pair::{Pair, agreed, both, each_pair, names};
use crate::pki::{CLIENT, SERVER};

const NAME: Option<&str> = Some("server.test");

/// A handshake and a byte each way, so that the client has its ticket.
async fn visit(pair: &Pair, client: &ClientConfig, server: &ServerConfig) -> (Handshake, Handshake) {
    let ((mut left, client), (mut right, server)) = agreed(pair.shake_with(client, server, NAME).await);
    let answering = async {
        right.read_u8().await.unwrap();
        right.write_u8(2).await.unwrap();
        right.flush().await.unwrap();
        right.shutdown().await.unwrap();
    };
    let asking = async {
        left.write_u8(1).await.unwrap();
        left.flush().await.unwrap();
        assert_eq!(left.read_u8().await.unwrap(), 2);
    };
    both(answering, asking).await;
    (client, server)
}

#[test]
fn a_second_visit_resumes_and_still_knows_the_peer() {
    each_pair(async |pair| {
        let (client, server) = (pair.client(), pair.server());
        for resumed in [false, true, true] {
            let (left, right) = visit(&pair, &client, &server).await;
            assert_eq!((left.resumed, right.resumed), (resumed, resumed));
            assert_eq!(read_leaf(&left.peer_leaf.unwrap()).unwrap().uris, [SERVER]);
            assert_eq!(read_leaf(&right.peer_leaf.unwrap()).unwrap().uris, [CLIENT]);
        }
    });
}

#[test]
fn tickets_outlive_a_rotation_and_another_core_but_not_their_keys() {
    each_pair(async |mut pair| {
        let client = pair.client();
        visit(&pair, &client, &pair.server()).await;
        pair.server_alpn = names(&["h2"]);
        assert!(
            visit(&pair, &client, &pair.server()).await.1.resumed,
            "another configuration, the same keys"
        );
        pair.tickets = TicketKeys::new();
        assert!(!visit(&pair, &client, &pair.server()).await.1.resumed, "another verification context");
    });
}

#[test]
fn another_client_configuration_starts_anew() {
    each_pair(async |pair| {
        let server = pair.server();
        visit(&pair, &pair.client(), &server).await;
        assert!(!visit(&pair, &pair.client(), &server).await.0.resumed);
    });
}

#[test]
fn a_ticket_is_offered_to_the_name_that_gave_it_only() {
    each_pair(async |pair| {
        let (client, server) = (pair.client(), pair.server());
        visit(&pair, &client, &server).await;
        let ((_, left), _) = agreed(pair.shake_with(&client, &server, Some("other.test")).await);
        assert!(!left.resumed);
    });
}

#[test]
fn a_session_does_not_outlive_the_leaf_it_began_with() {
    // The leaf ends within the test; the second handshake comes once it has.
    each_pair(async |mut pair| {
        let authority = crate::pki::Authority::new("root");
        (pair.client_roots, pair.server_roots) = (authority.bundle(), authority.bundle());
        pair.server_chain = authority.leaf(SERVER, |_| {});
        let end = time::OffsetDateTime::now_utc() + time::Duration::seconds(2);
        pair.client_chain = Some(authority.leaf(CLIENT, |params| params.not_after = end));
        let (client, server) = (pair.client_trusting(ClientTrust::Chain(&pair.client_roots)), pair.server());
        visit(&pair, &client, &server).await;
        let wait = std::time::Instant::now() + std::time::Duration::from_secs(4);
        sidering_net::sleep_until(wait).await;
        let (_client, server) = pair.shake_with(&client, &server, NAME).await;
        let expired = matches!(server, Err(sidering_tls::Failure::Expired { .. }));
        assert!(expired, "{:?}", server.map(|(_, handshake)| handshake));
    });
}
