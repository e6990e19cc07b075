//! What is kept of accounts: so many ended jobs in all (of runs and logs: see `settlement` and `logs`).
//! Where there are more, whoever has the most loses the oldest, so that a flood of one account does not push out what
//! others have. And what is kept of nodes: their checkpoints, for a while.

use protocol::{AccountId, JobId, Timestamp};
use sea_orm::{ColumnTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::jobs;
use crate::db::loops;
use crate::error::Result;

/// Checkpoints that one statement deletes: others write in between.
const CHECKPOINTS_AT_ONCE: u64 = 1_000;
/// Jobs that one transaction deletes, with all that they have.
const JOBS_AT_ONCE: u64 = 500;

/// So many each may keep that all of them keep at most `max`: those that have less keep all.
fn level(mut counts: Vec<u64>, max: u64) -> u64 {
    counts.sort_unstable();
    let (mut left, mut others) = (max, u64::try_from(counts.len()).unwrap_or(u64::MAX));
    for count in counts {
        if count > left / others {
            return left / others;
        }
        left -= count;
        others -= 1;
    }
    u64::MAX
}

/// Who has more than their share, where all of them may keep so many, and how many each of those may keep. Whoever has
/// less than the share keeps all.
pub(crate) fn over(counts: Vec<(Col<AccountId>, i64)>, max: u64) -> Vec<(AccountId, u64)> {
    let counts: Vec<(AccountId, u64)> =
        counts.into_iter().map(|(account, count)| (account.0, u64::try_from(count).unwrap_or(0))).collect();
    let level = level(counts.iter().map(|(_, count)| *count).collect(), max);
    counts.into_iter().filter(|(_, count)| *count > level).map(|(account, _)| (account, level)).collect()
}

/// Deletes checkpoints that are too old. Where a node's chain is, its row says.
pub(crate) async fn prune_checkpoints(app: &App) -> Result<()> {
    let days = i64::from(app.config.checkpoints_days) * 86_400_000;
    let before = Timestamp(Timestamp::now().0.saturating_sub(days));
    loop {
        let nth: Option<Col<Timestamp>> =
            loops::checkpoints_nth(before, CHECKPOINTS_AT_ONCE).into_tuple().one(app.db.read()).await?;
        // Those of the same millisecond go together.
        let until = nth.map_or(before, |nth| Timestamp(nth.0.0.saturating_add(1)).min(before));
        let gone = loops::checkpoints_too_old(until).exec(app.db.write()).await?.rows_affected;
        if nth.is_none() || gone == 0 {
            return Ok(());
        }
    }
}

/// Deletes ended jobs that are too many.
pub(crate) async fn trim(app: &App) -> Result<()> {
    let max = app.config.jobs_kept_max;
    let ended = loops::jobs_ended;
    if ended().count(app.db.read()).await? <= max {
        return Ok(());
    }
    let counts = ended()
        .select_only()
        .column(jobs::Column::AccountId)
        .column_as(jobs::Column::Id.count(), "jobs")
        .group_by(jobs::Column::AccountId)
        .into_tuple()
        .all(app.db.read())
        .await?;
    for (account, kept) in over(counts, max) {
        let of_account = || ended().filter(jobs::Column::AccountId.eq(Col(account)));
        let newest_gone = of_account().order_by_desc(jobs::Column::Ended).offset(kept).one(app.db.read()).await?;
        let Some(newest_gone) = newest_gone.and_then(|row| row.ended) else { continue };
        loop {
            let ids: Vec<Col<JobId>> = of_account()
                .select_only()
                .column(jobs::Column::Id)
                .filter(jobs::Column::Ended.lte(newest_gone))
                .filter(jobs::Column::WebhookDue.is_null())
                .limit(JOBS_AT_ONCE)
                .into_tuple()
                .all(app.db.read())
                .await?;
            if ids.is_empty() {
                break;
            }
            crate::jobs::forget(app, ids).await?;
        }
        tracing::info!(%account, kept, "ended jobs pruned: total limit exceeded");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_most_loses_first() {
        assert_eq!(level(vec![10, 20, 30], 100), u64::MAX);
        assert_eq!(level(vec![10, 20, 1000], 100), 70);
        assert_eq!(level(vec![1000, 10, 1000], 100), 45);
        assert_eq!(level(vec![1000, 1000], 100), 50);
        assert_eq!(level(vec![], 100), u64::MAX);
        assert_eq!(level(vec![5, 5, 5], 2), 0);
    }
}
