//! Reading: a page of the newest runs, rows and blocks together; and one run.

use std::collections::{BTreeSet, HashSet};
use std::iter::Peekable;

use books::Run;
use protocol::{AccountId, RunId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, IdenStatic as _, Iterable as _, QueryFilter as _, QuerySelect as _, Select,
};

use super::line::run_of;
use super::merge::{Merged, places};
use super::{apart, body, lost};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{blocks, runs};
use crate::db::loops;
use crate::error::Result;
use crate::settlement::filter::{Wanted, last_of};
use crate::settlement::windows::Windows;

/// The greatest id.
const LAST: RunId = RunId::from_uuid(uuid::Uuid::max());

/// A run, and whether it is settled.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(in crate::settlement) run: Run,
    pub(in crate::settlement) settled: bool,
}

impl From<&runs::Model> for Known {
    fn from(row: &runs::Model) -> Self {
        Self { run: run_of(row), settled: row.settled }
    }
}

/// A page of runs.
#[derive(Debug)]
pub(in crate::settlement) struct Listed {
    pub(in crate::settlement) runs: Vec<Known>,
    /// Lesser ids than this are on the next page; none: there is none.
    pub(in crate::settlement) next: Option<RunId>,
    /// Blocks that cannot be read, or not all of them.
    pub(in crate::settlement) damaged: BTreeSet<u64>,
    /// From then on the account's runs are complete.
    pub(in crate::settlement) since: Timestamp,
}

/// A page of at most so many runs.
pub(in crate::settlement) async fn list(app: &App, wanted: &Wanted, limit: u64) -> Result<Listed> {
    let connection = app.db.read();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (rows, looked_to) = rows(app, wanted, limit).await?;
    // Asked after the rows: a row that has been evicted since was read.
    let windows = Windows::read(connection, [wanted.account]).await?;
    let rows_from = windows.rows_from(wanted.account);
    let begin = wanted.before.unwrap_or(LAST).min(rows_from);
    // What is on this page for certain has rows: nobody needs the blocks.
    let last_row = rows.get(limit).map(|known| known.run.run);
    if last_row.max(looked_to).is_some_and(|last| last >= rows_from) {
        let full = rows.len() > limit;
        let mut runs = rows;
        runs.truncate(limit);
        let next = if full { runs.last().map(|known| known.run.run) } else { looked_to };
        return Ok(Listed { runs, next, damaged: BTreeSet::new(), since: windows.since(wanted.account) });
    }
    let blocks = Merged::open(app, connection, wanted, begin).await?;
    let mut page = merged(app, wanted, rows, looked_to, blocks, limit).await?;
    // Asked last: what was forgotten meanwhile was forgotten before the time that is told.
    page.since = Windows::read(connection, [wanted.account]).await?.since(wanted.account);
    Ok(page)
}

/// The rows that fit, one more than a page has; and down to which id they were looked at, where that is not the end.
async fn rows(app: &App, wanted: &Wanted, limit: usize) -> Result<(Vec<Known>, Option<RunId>)> {
    let connection = app.db.read();
    let candidates = wanted.candidates();
    // However rare what is searched for is, so many are looked at: the next page goes on behind them.
    let mut last: Option<Col<RunId>> = None;
    if wanted.searches() {
        last = last_of(candidates.clone(), app.history.settings.scanned_max).into_tuple().one(connection).await?;
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut query = wanted.fitting(candidates).limit(most);
    if let Some(last) = last {
        query = query.filter(runs::Column::RunId.gte(last));
    }
    let rows = brief(query).all(connection).await?;
    Ok((rows.iter().map(Known::from).collect(), last.map(|last| last.0)))
}

/// Without why the runs went where they went: no list shows it, and it is the largest of all columns.
fn brief(query: Select<runs::Entity>) -> Select<runs::Entity> {
    let left_out = runs::Column::Placement;
    let others = runs::Column::iter().filter(|column| column.as_str() != left_out.as_str());
    query.select_only().columns(others).expr_as(Expr::cust("NULL"), left_out.as_str())
}

/// Rows and blocks, by descending ids; of a run that has a row, the row.
async fn merged(
    app: &App,
    wanted: &Wanted,
    rows: Vec<Known>,
    looked_to: Option<RunId>,
    mut blocks: Merged,
    limit: usize,
) -> Result<Listed> {
    let mut rows = rows.into_iter().peekable();
    let (mut runs, mut of_blocks): (Vec<Known>, HashSet<RunId>) = (Vec::new(), HashSet::new());
    // Lines are looked at one by one for anything but their place.
    let searches = wanted.searches() || wanted.function.is_some();
    let (mut left, mut last_scanned) = (if searches { app.history.settings.scanned_max } else { u64::MAX }, None);
    let next = loop {
        if runs.len() > limit {
            runs.truncate(limit);
            break runs.last().map(|known| known.run.run);
        }
        let (row, bound) = (next_row(&mut rows), blocks.bound());
        // Rows that are older than what the blocks were looked at for are on the next page.
        if bound.is_none() && (row.is_none() || row < blocks.left()) {
            break blocks.left().max(looked_to);
        }
        // Rows were looked at to this one, and further ones may come before what blocks have.
        if looked_to.is_some_and(|last| row.max(bound) < Some(last)) {
            break looked_to;
        }
        if row.is_some() && row >= bound {
            if let Some(known) = rows.next() {
                blocks.below(known.run.run);
                runs.push(known);
            }
            continue;
        }
        if left == 0 {
            break last_scanned;
        }
        let peeked = blocks.peek().await?;
        if peeked.is_some()
            && row < peeked
            && looked_to <= peeked
            && let Some(run) = blocks.take()
        {
            (left, last_scanned) = (left - 1, Some(run.run));
            if wanted.fits(&run) {
                of_blocks.insert(run.run);
                runs.push(Known { run, settled: true });
            }
        }
    };
    // A run that was corrected since it was packed has a row, which may not fit any more.
    let with_rows = have_rows(app, &of_blocks).await?;
    runs.retain(|known| !(of_blocks.contains(&known.run.run) && with_rows.contains(&known.run.run)));
    Ok(Listed { runs, next, damaged: blocks.damaged, since: Timestamp(0) })
}

fn next_row(rows: &mut Peekable<std::vec::IntoIter<Known>>) -> Option<RunId> {
    rows.peek().map(|known| known.run.run)
}

/// Those of the runs that have rows.
async fn have_rows(app: &App, ids: &HashSet<RunId>) -> Result<HashSet<RunId>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Col<RunId>> = runs::Entity::find()
        .select_only()
        .column(runs::Column::RunId)
        .filter(runs::Column::RunId.is_in(ids.iter().map(|id| Col(*id))))
        .into_tuple()
        .all(app.db.read())
        .await?;
    Ok(rows.into_iter().map(|id| id.0).collect())
}

/// What became of a run.
#[derive(Debug)]
pub(in crate::settlement) enum Found {
    /// There it is.
    Run(Box<Known>),
    /// The account has no such run, as far as can be told: these blocks might have it, and cannot be read.
    No(Vec<u64>),
}

/// A run of the account.
pub(in crate::settlement) async fn find(app: &App, account: AccountId, run: RunId) -> Result<Found> {
    let connection = app.db.read();
    if let Some(row) = runs::Entity::find_by_id(Col(run)).one(connection).await? {
        return Ok(match row.account_id.0 == account {
            true => Found::Run(Box::new(Known::from(&row))),
            false => Found::No(Vec::new()),
        });
    }
    let spanning = loops::blocks_since(account, run).filter(blocks::Column::FirstRun.lte(Col(run)));
    let mut spanning = places(spanning).all(connection).await?;
    // The last word is in the last block.
    spanning.sort_unstable_by_key(|place| std::cmp::Reverse(place.number));
    let mut damaged = Vec::new();
    for place in spanning {
        let (number, Some(address)) = (place.number(), place.address()) else { continue };
        let found = match body(app, connection, (account, number), address).await {
            Ok(body) => apart(move || body.find(run)).await?.map_err(Into::into),
            Err(error) => Err(error),
        };
        match found {
            Ok(Some(run)) => return Ok(Found::Run(Box::new(Known { run, settled: true }))),
            Ok(None) => {}
            Err(error) => {
                lost(account, number, &error);
                damaged.push(number);
            }
        }
    }
    Ok(Found::No(damaged))
}
