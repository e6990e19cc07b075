//! Halves that come when their run has no row any more: whether a block has it. Then it was settled, and they are void.

use std::collections::{HashMap, HashSet};

use protocol::{AccountId, RunId};
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, QueryFilter as _};

use super::merge::places;
use super::{BlockError, Place, apart, body, lost};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::blocks;
use crate::db::loops;

/// Those of these runs, which have no rows, that are in blocks of their accounts. In doubt a run is in its block: where the
/// block is lost for good, nobody can tell, and no run may be billed twice.
///
/// # Errors
/// Of the database; and where the store is away: the halves wait.
pub(in crate::settlement) async fn packed_among<C: ConnectionTrait>(
    app: &App,
    connection: &C,
    missing: impl IntoIterator<Item = (RunId, AccountId)>,
) -> Result<HashSet<RunId>, DbErr> {
    let mut by_account: HashMap<AccountId, Vec<RunId>> = HashMap::new();
    for (run, account) in missing {
        by_account.entry(account).or_default().push(run);
    }
    let mut packed = HashSet::new();
    for (account, runs) in by_account {
        let (Some(first), Some(last)) = (runs.iter().min().copied(), runs.iter().max().copied()) else { continue };
        let spanning = loops::blocks_since(account, first).filter(blocks::Column::FirstRun.lte(Col(last)));
        for place in places(spanning).all(connection).await? {
            let spans = |run: &&RunId| (place.first_run.0..=place.last_run.0).contains(*run) && !packed.contains(*run);
            let asked: Vec<RunId> = runs.iter().filter(spans).copied().collect();
            if !asked.is_empty() {
                packed.extend(packed_in(app, connection, (account, &place), asked).await?);
            }
        }
    }
    Ok(packed)
}

/// Those of these runs that are in this block.
async fn packed_in<C: ConnectionTrait>(
    app: &App,
    connection: &C,
    (account, place): (AccountId, &Place),
    asked: Vec<RunId>,
) -> Result<Vec<RunId>, DbErr> {
    let (number, Some(address)) = (place.number(), place.address()) else { return Ok(Vec::new()) };
    let all = asked.clone();
    let found = match Box::pin(body(app, connection, (account, number), address)).await {
        Ok(body) => {
            let look = move || {
                let mut found = Vec::new();
                for run in asked {
                    if body.find(run)?.is_some() {
                        found.push(run);
                    }
                }
                Ok::<_, books::Error>(found)
            };
            apart(look).await.map_err(|error| DbErr::Custom(error.to_string()))?.map_err(BlockError::from)
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => Ok(found),
        Err(error) if error.passes() => Err(DbErr::Custom(format!("block {number} cannot be read now: {error}"))),
        Err(error) => {
            lost(account, number, &error);
            Ok(all)
        }
    }
}
