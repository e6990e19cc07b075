//! How long the control plane's sweep takes over an index of a million blobs: the real code on a database of its own, with
//! rows that are made in bulk. Nothing else runs, and the store is empty.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use control_plane::BareSweep;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use store::Store;
use store::engine::Disk;

use super::Found;
use crate::checks::Check;
use crate::figures::Figure;
use crate::{Options, say};

/// Blobs of the index.
pub(super) const BLOBS: u32 = 1_000_000;

/// Long ago, and under an epoch that is closed.
const INDEX: &str = "INSERT INTO blobs (id, account_id, size, digest, sealed_key, created, doomed) \
    WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?) \
    SELECT '00000001' || lower(hex(randomblob(12))), zeroblob(16), 1000, lower(hex(randomblob(32))), zeroblob(60), 0, NULL \
    FROM numbers";
/// All but one of sixteen have an owner.
const OWNERS: &str = "INSERT INTO artifacts (account_id, digest, size, created, blob) \
    SELECT account_id, digest, size, 0, id FROM blobs WHERE substr(id, -1) <> '0'";
const DOOMED: &str = "SELECT count(*) FROM blobs WHERE doomed IS NOT NULL";
const UNOWNED: &str = "SELECT count(*) FROM blobs WHERE substr(id, -1) = '0'";
const UNDOOM: &str = "UPDATE blobs SET doomed = NULL WHERE doomed IS NOT NULL";

/// Measures it.
pub(super) async fn measure(options: &Options) -> anyhow::Result<Found> {
    measure_of(BLOBS, options.rounds).await
}

async fn measure_of(blobs: u32, rounds: u32) -> anyhow::Result<Found> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("index.db").display());
    let store = Store::on(vec![Arc::new(Disk::open(&folder.path().join("store"))?)], NonZeroUsize::MIN);
    let mut sweep = BareSweep::open(&url, store).await?;
    say(&format!("an index of {blobs} blobs"));
    let mut connect = ConnectOptions::new(url);
    connect.max_connections(1).sqlx_logging(false);
    let database = Box::pin(Database::connect(connect)).await?;
    database.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, INDEX, [blobs.into()])).await?;
    database.execute_unprepared(OWNERS).await?;
    let wanted = number(&database, UNOWNED).await?;

    let (mut pass, mut horizon, mut doomed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}: a sweep over all blobs"));
        let begun = Instant::now();
        Box::pin(sweep.doom()).await?;
        pass.push(begun.elapsed().as_secs_f64());
        doomed.push(number(&database, DOOMED).await?);
        let begun = Instant::now();
        Box::pin(sweep.delete_unindexed()).await?;
        horizon.push(begun.elapsed().as_secs_f64() * 1e3);
        database.execute_unprepared(UNDOOM).await?;
    }
    database.close().await?;
    sweep.close().await;
    let of = format!("sweep of {blobs} blobs");
    let figures = vec![Figure::new(&of, "dooming_seconds", None, pass), Figure::new(&of, "horizon_ms", None, horizon)];
    let held = wanted > 0 && doomed.iter().all(|found| *found == wanted);
    let check = Check::new("the sweep dooms those to which nothing refers", held, format!("{doomed:?} of {wanted}"));
    Ok(Found { figures, goals: Vec::new(), checks: vec![check] })
}

async fn number(database: &DatabaseConnection, sql: &'static str) -> anyhow::Result<i64> {
    let row = database.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
    Ok(row.with_context(|| format!("{sql} says nothing"))?.try_get_by_index(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_index_is_swept_each_round() {
        let found = measure_of(1_000, 2).await.unwrap();
        assert!(found.checks.iter().all(|check| check.held), "{:?}", found.checks);
        assert!(found.figures.iter().all(|figure| figure.rounds.len() == 2));
    }
}
