//! An authorized connection of opaque bytes, in either direction: dial, join, report.

use std::pin::pin;
use std::rc::Rc;

use sidering_policy::{Direction, Permit, WeightedCluster, dial};

use crate::connection::Connection;
use crate::io::Io;
use crate::outbound::RETRIES;
use crate::refused::{Refused, Stage};
use crate::report::Report;
use crate::{relay, upstream};

/// Joins the connection to one of `clusters` until both sides have ended. A refusal is recorded here, with what the
/// log has to say of it.
pub(crate) async fn forward(
    connection: &Rc<Connection>,
    permit: Permit,
    clusters: &[WeightedCluster],
    io: &mut Io,
) {
    let mut report = Report::opaque(connection, connection.client().as_ref());
    report.permitted(&permit);
    let ended = joined(connection, permit, clusters, io, &mut report).await;
    if let Err(refused) = &ended {
        report.refused(refused);
    }
    report.finish(&report.flowed());
}

async fn joined(
    connection: &Rc<Connection>,
    permit: Permit,
    clusters: &[WeightedCluster],
    io: &mut Io,
    report: &mut Report<'_>,
) -> Stage<()> {
    let live = connection.core.live();
    let entropy = connection.core.entropy();
    let cluster = dial(&live.snapshot, clusters, &connection.chain().origin, entropy)
        .map_err(|refusal| Refused::decided(&refusal))?
        .clone();
    drop(live);

    let retries = match connection.direction {
        Direction::Inbound => 0,
        Direction::Outbound => RETRIES,
    };
    let dialling = upstream::dial(connection, &cluster, retries);
    let (mut upstream, established, _in_flight) = connection.unless_aborted(pin!(dialling)).await??;
    report.upstream(&established);
    connection.joined(&established)?;
    let flow = report.joined();
    relay::tcp(connection, permit, io, &mut upstream, cluster.tcp_idle_timeout, flow).await.map_err(
        |refused| refused.towards(&cluster.name, Some(upstream::shown(&established.endpoint.address))),
    )
}
