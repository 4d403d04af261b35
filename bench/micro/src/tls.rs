//! TLS over a pipe in memory, both sides: handshakes with certificates both ways, and records of 1 KiB.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use sidering_identity::{Bundle, CertificateChain};
use sidering_net::{Driver, block_on};
use sidering_tls::{
    Backend, ClientConfig, ClientParameters, ClientTrust, ServerConfig, ServerParameters, TicketKeys,
    TlsStream, Version, accept, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::Result;

type Side = TlsStream<DuplexStream>;

/// Seals a record and opens it.
pub fn record(count: usize) -> Result {
    let (server, client) = configs()?;
    block_on(Driver::Epoll, async {
        let (mut server, mut client) = shake(&server, &client).await?;
        let (sent, mut received) = ([7; 1024], [0; 1024]);
        for _ in 0..count {
            client.write_all(&sent).await?;
            client.flush().await?;
            server.read_exact(&mut received).await?;
        }
        Ok(())
    })?
}

/// Full ones: the server hands out tickets, the client is a new one each time.
pub fn handshake(count: usize) -> Result {
    let (server, client) = configs()?;
    block_on(Driver::Epoll, async {
        for _ in 0..count {
            shake(&server, &client).await?;
        }
        Ok(())
    })?
}

async fn shake(server: &ServerConfig, client: &ClientConfig) -> Result<(Side, Side)> {
    let (left, right) = tokio::io::duplex(64 << 10);
    let deadline = Instant::now() + Duration::from_secs(600);
    let (accepted, connected) =
        tokio::join!(accept(left, server, &[], deadline), connect(right, client, None, deadline));
    Ok((accepted?.0, connected?.0))
}

fn configs() -> Result<(ServerConfig, ClientConfig)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let bundle = Bundle { roots: vec![authority.der().to_vec()] };
    let leaf = |account: &str| -> Result<CertificateChain> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            vec![SanType::URI(format!("spiffe://cluster.local/ns/shop/sa/{account}").as_str().try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(CertificateChain {
            certificates: vec![params.signed_by(&key, &authority)?.der().to_vec()],
            key: Arc::new(key.serialize_der().into()),
        })
    };
    let server = Backend::Rustls.server_config(&ServerParameters {
        chain: &leaf("server")?,
        clients: &bundle,
        alpn: &[],
        min_version: Version::Tls13,
        cipher_suites: &[],
        tickets: &TicketKeys::new(),
    })?;
    let client = Backend::Rustls.client_config(&ClientParameters {
        certificate: Some(&leaf("client")?),
        trust: ClientTrust::Chain(&bundle),
        alpn: &[],
        min_version: Version::Tls13,
        cipher_suites: &[],
    })?;
    Ok((server, client))
}
