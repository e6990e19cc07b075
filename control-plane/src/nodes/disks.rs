//! The disks that nodes have for blobs: this control plane's store is on them.

use std::time::{Duration, Instant};

use sea_orm::DbErr;
use store::{NodeDisks, Store};
use tokio_util::sync::CancellationToken;

use crate::db::entities::nodes;
use crate::db::{Db, loops};
use crate::objects::claim;

/// Whether disks have come or gone is asked so often. (Gateways hear of it.)
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Whose new ones are is asked so often at most.
const CLAIM_EACH: Duration = Duration::from_secs(1);

/// Keeps the store's engines as the nodes' rows have them, until it is stopped.
pub(crate) async fn follow(db: Db, store: Store, disks: Option<NodeDisks>, stop: CancellationToken) {
    let Some(disks) = disks else { return stop.cancelled().await };
    let mut claimed = None;
    while !stop.is_cancelled() {
        if let Err(error) = look(&db, &store, &disks, &mut claimed).await {
            tracing::warn!(%error, "which disks there are cannot be read; those that are known stay");
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

async fn look(db: &Db, store: &Store, disks: &NodeDisks, claimed: &mut Option<Instant>) -> Result<(), DbErr> {
    let rows = loops::nodes_with_disks().all(db.read()).await?;
    let members = rows.iter().filter(|row| row.state.is_member());
    let said = |row: &nodes::Model| row.hello.map_or(0, |hello| hello.0.0);
    disks.know(members.filter_map(|row| Some((row.id.0, said(row), row.disks.as_ref()?.0.as_slice()))));
    // One that has just come, or does not answer yet: those that are not as they should be wait for the slower round.
    if store.unknown() > 0 && claimed.is_none_or(|at| at.elapsed() >= CLAIM_EACH) {
        *claimed = Some(Instant::now());
        claim::look(db, store).await?;
    }
    Ok(())
}
