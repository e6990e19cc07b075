//! What is learned from: the newest runs, as the gateways saw them and the nodes claim them.

use std::time::Duration;

use protocol::placement::Warmth;
use protocol::receipt::{Outcome, Usage};
use protocol::{Lane, NodeId, RunId, Timestamp, VersionId};
use scheduler::Finished;
use sea_orm::{DbErr, QuerySelect as _};

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::runs;
use crate::db::loops;
use crate::settlement::first_id_at;

type Row = (
    Col<VersionId>,
    Col<NodeId>,
    Col<Lane>,
    Col<Outcome>,
    bool,
    Option<bool>,
    Col<Usage>,
    Option<Col<Usage>>,
    Col<Timestamp>,
);

/// Whether so many runs have begun since.
pub(super) async fn are_since(app: &App, since: Timestamp, runs: u64) -> Result<bool, DbErr> {
    let since = RunId::from_uuid(first_id_at(since));
    // Counting them all would read them all.
    let last = loops::runs_to_learn_since(since, runs.saturating_sub(1)).one(app.db.read()).await?;
    Ok(last.is_some())
}

/// The newest runs, in the order in which they ended.
pub(super) async fn newest(app: &App, most: u64) -> Result<Vec<Finished>, DbErr> {
    let columns = [
        runs::Column::VersionId,
        runs::Column::NodeId,
        runs::Column::Lane,
        runs::Column::Outcome,
        runs::Column::Warm,
        runs::Column::Cached,
        runs::Column::Observed,
        runs::Column::Claimed,
        runs::Column::Received,
    ];
    let query = loops::runs_to_learn(most).select_only().columns(columns);
    let rows: Vec<Row> = query.into_tuple().all(app.db.read()).await?;
    let mut ended: Vec<(Timestamp, Finished)> = rows.into_iter().filter_map(finished).collect();
    ended.sort_by_key(|(ended, run)| (*ended, run.version));
    Ok(ended.into_iter().map(|(_, run)| run).collect())
}

fn finished(row: Row) -> Option<(Timestamp, Finished)> {
    let (version, node, lane, outcome, warm, cached, observed, claimed, received) = row;
    // Of a run whose caller went away, nobody knows how long it would have taken.
    if *outcome == Outcome::Cancelled {
        return None;
    }
    let wall_us = claimed.map_or(observed.wall_us, |claimed| claimed.wall_us.min(observed.wall_us));
    let run = Finished {
        version: version.0,
        input: observed.bytes_in,
        node: node.0,
        lane: lane.0,
        warmth: Warmth::of(warm, cached.unwrap_or(false)),
        wall: Duration::from_micros(wall_us),
        failed: *outcome != Outcome::Succeeded,
    };
    Some((received.plus(Duration::from_micros(observed.wall_us)), run))
}
