//! What deleted functions leave behind: versions and aliases go once nothing that is kept needs them, and so does the
//! function's row, unless sums of usage, which are kept for ever, are of it: then it stays as a name.
//!
//! Runs and jobs name functions and versions by their ids. They are of the time before the function was deleted: so once
//! the account's oldest run, be it a row or in a block, and its oldest job are younger than that, nothing that is kept tells
//! of it.

use protocol::{AccountId, JobId, RunId, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
};

use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::{aliases, functions, versions};
use crate::db::{Db, loops};
use crate::error::Result;

const DAY_MS: i64 = 86_400_000;
/// Functions of one look.
const AT_ONCE: u64 = 100;
/// Looks of one round: what is left is found by the next one.
const LOOKS_MAX: usize = 10;

/// Deletes what functions that were deleted long ago have left; says of how many.
pub(crate) async fn purge(db: &Db, config: &Config, now: Timestamp) -> Result<u64> {
    let before = Timestamp(now.0.saturating_sub(kept_days(config).saturating_mul(DAY_MS)));
    let (mut purged, mut waiting) = (0, Vec::new());
    for _ in 0..LOOKS_MAX {
        // The earliest first: where that one is told of, so may be all later ones of its account.
        let found = loops::functions_to_purge(before, &waiting, AT_ONCE).all(db.read()).await?;
        if found.is_empty() {
            break;
        }
        for function in found {
            let (account, Some(deleted)) = (function.account_id.0, function.deleted) else { continue };
            if waiting.contains(&account) {
                continue;
            }
            if reaches_back(db, account, deleted.0).await? {
                waiting.push(account);
                continue;
            }
            forget(db, &function, deleted.0, now).await?;
            purged += 1;
        }
    }
    if purged > 0 {
        tracing::info!(purged, "deleted functions purged");
    }
    Ok(purged)
}

/// How long all of it is kept: as the operator says, and not less than what names it. A day more, because what is kept by
/// days goes in pieces.
fn kept_days(config: &Config) -> i64 {
    i64::from(config.deleted_days.max(config.runs_days).max(config.jobs_days)).saturating_add(1)
}

/// Whether the account has a run or a job of that time or earlier.
async fn reaches_back(db: &Db, account: AccountId, deleted: Timestamp) -> Result<bool> {
    let run: Option<Col<RunId>> = loops::runs_first(account).into_tuple().one(db.read()).await?;
    let block = loops::blocks_oldest(account).one(db.read()).await?.map(|block| block.first_run);
    let job: Option<Col<JobId>> = loops::jobs_first(account).into_tuple().one(db.read()).await?;
    let ids = [run.map(|run| run.uuid()), block.map(|run| run.uuid()), job.map(|job| job.uuid())];
    Ok(ids.into_iter().flatten().any(|id| time_of(id) <= deleted.0))
}

/// The time in an id, in milliseconds since 1970.
fn time_of(id: uuid::Uuid) -> i64 {
    i64::try_from(id.as_u64_pair().0 >> 16).unwrap_or(i64::MAX)
}

async fn forget(db: &Db, function: &functions::Model, deleted: Timestamp, now: Timestamp) -> Result<()> {
    let tx = db.begin_bulk().await?;
    let (account, id) = (function.account_id, function.id);
    versions::Entity::delete_many()
        .filter(versions::Column::AccountId.eq(account))
        .filter(versions::Column::FunctionId.eq(id))
        .exec(&tx)
        .await?;
    aliases::Entity::delete_many().filter(aliases::Column::FunctionId.eq(id)).exec(&tx).await?;
    if was_used(&tx, function, deleted).await? {
        functions::Entity::update_many()
            .set(functions::ActiveModel { purged: Set(Some(now.into())), ..Default::default() })
            .filter(functions::Column::Id.eq(id))
            .exec(&tx)
            .await?;
    } else {
        functions::Entity::delete_by_id(id).exec(&tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Whether there are sums of it. They are of the days on which it was there; gateways' clocks may be a little off.
async fn was_used(tx: &DatabaseTransaction, function: &functions::Model, deleted: Timestamp) -> Result<bool> {
    let (from, to) = (Timestamp(function.created.0.0 - 2 * DAY_MS), Timestamp(deleted.0.saturating_add(DAY_MS)));
    let query = loops::usage_of_function(function.account_id.0, function.id.0, from, to);
    Ok(tx.query_one_raw(query.statement(tx.get_database_backend())).await?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_for_as_long_as_what_names_it() {
        let config = Config { deleted_days: 30, runs_days: 7, jobs_days: 7, ..Config::default() };
        assert_eq!(kept_days(&config), 31);
        assert_eq!(kept_days(&Config { runs_days: 90, ..config.clone() }), 91);
        assert_eq!(kept_days(&Config { deleted_days: 1, ..config }), 8);
        let run = RunId::new();
        assert!(time_of(run.uuid()).abs_diff(Timestamp::now().0) < 1_000);
    }
}
