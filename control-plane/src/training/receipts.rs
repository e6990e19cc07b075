//! What is learned from: the newest runs, as the gateways saw them and the nodes claim them. Those whose rows are gone have
//! left samples.

use std::collections::BTreeMap;
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
use crate::settlement::{Sample, first_id_at};

type Row = (
    Col<RunId>,
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

/// Whether so many runs have begun since, of which there are rows or samples.
pub(super) async fn are_since(app: &App, since: Timestamp, runs: u64) -> Result<bool, DbErr> {
    let since = RunId::from_uuid(first_id_at(since));
    // Counting them all would read them all.
    let but = runs.saturating_sub(1);
    if loops::runs_to_learn_since(since, but).one(app.db.read()).await?.is_some() {
        return Ok(true);
    }
    Ok(loops::samples_since(since, but).one(app.db.read()).await?.is_some())
}

/// The newest runs, in the order in which they ended.
pub(crate) async fn newest(app: &App, most: u64) -> Result<Vec<Finished>, DbErr> {
    let columns = [
        runs::Column::RunId,
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
    // A run that is in a block may have a row still.
    let mut samples: BTreeMap<RunId, Sample> =
        rows.into_iter().map(sample).map(|sample| (sample.run, sample)).collect();
    let left = most.saturating_sub(u64::try_from(samples.len()).unwrap_or(u64::MAX));
    for row in loops::samples_to_learn(left).all(app.db.read()).await? {
        if let Some(sample) = Sample::read(&row) {
            samples.entry(sample.run).or_insert(sample);
        }
    }
    let mut ended: Vec<(Timestamp, Finished)> = samples.into_values().filter_map(finished).collect();
    ended.sort_by_key(|(ended, run)| (*ended, run.version));
    Ok(ended.into_iter().map(|(_, run)| run).collect())
}

fn sample(row: Row) -> Sample {
    let (run, version, node, lane, outcome, warm, cached, observed, claimed, received) = row;
    Sample {
        run: run.0,
        version: version.0,
        node: node.0,
        lane: lane.0,
        outcome: outcome.0,
        warm,
        cached: cached.unwrap_or(false),
        observed: observed.0,
        claimed: claimed.map(|usage| usage.0),
        received: received.0,
    }
}

fn finished(sample: Sample) -> Option<(Timestamp, Finished)> {
    let Sample { version, node, lane, outcome, warm, cached, observed, claimed, received, .. } = sample;
    // Of a run whose caller went away, nobody knows how long it would have taken.
    if outcome == Outcome::Cancelled {
        return None;
    }
    let wall_us = claimed.map_or(observed.wall_us, |claimed| claimed.wall_us.min(observed.wall_us));
    let run = Finished {
        version,
        input: observed.bytes_in,
        node,
        lane,
        warmth: Warmth::of(warm, cached),
        wall: Duration::from_micros(wall_us),
        failed: outcome != Outcome::Succeeded,
    };
    Some((received.plus(Duration::from_micros(observed.wall_us)), run))
}
