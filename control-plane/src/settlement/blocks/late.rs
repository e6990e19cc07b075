//! Halves that come when their run has no row any more: whether a block has it. Then it was settled, and they are void.
//!
//! Blocks are looked into outside of transactions: on SQLite nobody else can write meanwhile, however slow the store is.

use std::collections::{HashMap, HashSet};

use protocol::{AccountId, RunId};
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, QueryFilter as _};

use super::merge::places;
use super::{BlockError, apart, body, lost};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::blocks;
use crate::db::loops;
use crate::objects::Address;

/// Which runs are in which blocks, as far as somebody has looked. A block never changes, so that it stays true.
#[derive(Debug, Default)]
pub(crate) struct Looked(HashMap<(Address, RunId), bool>);

/// Blocks that are to be looked into first.
#[derive(Debug)]
pub(crate) struct Unlooked(Vec<Block>);

#[derive(Debug)]
struct Block {
    account: AccountId,
    number: u64,
    address: Address,
    /// They may be in it.
    runs: Vec<RunId>,
}

/// Why halves cannot be settled in this transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    /// End it, look ([`Looked::look`]), and begin again.
    #[error("blocks are to be looked into first")]
    Unlooked(Unlooked),
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Those of these runs, which have no rows, that are in blocks of their accounts. Nothing is read from the store.
///
/// # Errors
/// Of the database; and where nobody has looked into a block that may have one of them.
pub(in crate::settlement) async fn packed_among<C: ConnectionTrait>(
    connection: &C,
    missing: impl IntoIterator<Item = (RunId, AccountId)>,
    looked: &Looked,
) -> Result<HashSet<RunId>, SettleError> {
    let mut by_account: HashMap<AccountId, Vec<RunId>> = HashMap::new();
    for (run, account) in missing {
        by_account.entry(account).or_default().push(run);
    }
    let (mut packed, mut unlooked) = (HashSet::new(), Vec::new());
    for (account, runs) in by_account {
        let (Some(first), Some(last)) = (runs.iter().min().copied(), runs.iter().max().copied()) else { continue };
        let spanning = loops::blocks_since(account, first).filter(blocks::Column::FirstRun.lte(Col(last)));
        for place in places(spanning).all(connection).await? {
            let (number, Some(address)) = (place.number(), place.address()) else { continue };
            let spanned = place.first_run.0..=place.last_run.0;
            let mut block = Block { account, number, address, runs: Vec::new() };
            for run in runs.iter().copied().filter(|run| spanned.contains(run)) {
                match looked.0.get(&(address, run)) {
                    Some(true) => {
                        packed.insert(run);
                    }
                    Some(false) => {}
                    None => block.runs.push(run),
                }
            }
            unlooked.push(block);
        }
    }
    for block in &mut unlooked {
        block.runs.retain(|run| !packed.contains(run));
    }
    unlooked.retain(|block| !block.runs.is_empty());
    if unlooked.is_empty() { Ok(packed) } else { Err(SettleError::Unlooked(Unlooked(unlooked))) }
}

impl Looked {
    /// Looks into these blocks. In doubt a run is in its block: where the block is lost for good, nobody can tell, and no run
    /// may be billed twice.
    ///
    /// # Errors
    /// Where the database or the store is away: the halves wait.
    pub(crate) async fn look(&mut self, app: &App, unlooked: Unlooked) -> Result<(), DbErr> {
        let mut found: HashSet<RunId> = HashSet::new();
        for Block { account, number, address, runs } in unlooked.0 {
            let asked: Vec<RunId> = runs.into_iter().filter(|run| !found.contains(run)).collect();
            if asked.is_empty() {
                continue;
            }
            let packed = packed_in(app, (account, number), address, asked.clone()).await?;
            self.0.extend(asked.into_iter().map(|run| ((address, run), packed.contains(&run))));
            found.extend(packed);
        }
        Ok(())
    }
}

/// Those of these runs that are in this block.
async fn packed_in(
    app: &App,
    (account, number): (AccountId, u64),
    address: Address,
    asked: Vec<RunId>,
) -> Result<HashSet<RunId>, DbErr> {
    let all: HashSet<RunId> = asked.iter().copied().collect();
    let found = match Box::pin(body(app, app.db.read(), (account, number), address)).await {
        Ok(body) => {
            let look = move || {
                let mut found = HashSet::new();
                for run in asked {
                    if body.find(run)?.is_some() {
                        found.insert(run);
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
