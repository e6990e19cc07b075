//! Writing the sums: what the rows of a batch change is gathered, and written in the batch's own transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::receipt::Outcome;
use protocol::{AccountId, Timestamp, Total};
use sea_orm::{DatabaseTransaction, DbErr};

use super::dimensions::{Dimensions, DimensionsId};
use super::figures::{self, FIGURES, Share, put, read};
use super::period::Span;
use super::sketch::Sketch;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{runs, usage_sums};
use crate::db::loops;
use crate::db::{Db, bulk};

/// Combinations of an account that are kept of a period. Of further ones each function has one, until there are as many
/// again; then they are all one.
pub(crate) const KEYS_MAX: u64 = 200;
/// Periods that one query asks for: a bound on its depth.
const PERIODS_MAX: usize = 100;
/// Rows that are known from one transaction to the next; of more, none are.
const RECENT_MAX: usize = 4_096;

/// What is added to one row.
#[derive(Clone, Default)]
struct Change {
    figures: [Total; FIGURES],
    latency: Sketch,
}

impl Change {
    fn add(&mut self, other: &Self) {
        self.figures.iter_mut().zip(other.figures).for_each(|(sum, more)| *sum = sum.plus(more));
        self.latency.add(&other.latency);
    }

    fn is_nothing(&self) -> bool {
        self.figures == [Total(0); FIGURES] && self.latency.write().is_empty()
    }

    /// More is taken away than added: a run that was counted before.
    fn takes_away(&self) -> bool {
        self.figures[0] < Total(0)
    }

    /// The row with it. A sum ends at nothing and at `i64::MAX`: what comes beyond is lost.
    fn apply(&self, row: &mut usage_sums::Model) {
        let mut figures = read(row);
        for (sum, more) in figures.iter_mut().zip(self.figures) {
            *sum = Total(*sum).plus(more).0.max(0);
        }
        put(row, figures);
        let mut latency = Sketch::read(&row.latency);
        latency.add(&self.latency);
        row.latency = latency.write();
    }
}

/// One period of one account: its length, and when it began.
type Place = (AccountId, Span, Timestamp);

/// One row.
type RowKey = (Place, DimensionsId);

/// What is added to the rows of one period.
type OfPeriod = BTreeMap<DimensionsId, (Dimensions, Change)>;

type Changes = BTreeMap<Place, OfPeriod>;

fn add_to(of_period: &mut OfPeriod, id: DimensionsId, dimensions: Dimensions, change: &Change) {
    of_period.entry(id).or_insert_with(|| (dimensions, Change::default())).1.add(change);
}

/// Changes of sums, gathered over a batch: by account, minute and combination.
#[derive(Default)]
pub(crate) struct Sums(HashMap<(AccountId, Timestamp, Dimensions), Change>);

impl Sums {
    /// A row changed from `before` to `after`.
    pub(crate) fn changed(&mut self, before: Option<&runs::Model>, after: &runs::Model) {
        if let Some(before) = before {
            self.add(before, -1);
        }
        self.add(after, 1);
    }

    fn add(&mut self, row: &runs::Model, times: i64) {
        let share = Share::of(row);
        if share == Share::default() {
            return;
        }
        let minute = Span::Minute.floor(Timestamp(row.received.0.0.max(0)));
        let change = self.0.entry((row.account_id.0, minute, Dimensions::of(row))).or_default();
        let sign = |figure: Total| if times < 0 { figure.negative() } else { figure };
        change.figures.iter_mut().zip(share.figures()).for_each(|(sum, figure)| *sum = sum.plus(sign(figure)));
        if matches!(*row.outcome, Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut) {
            change.latency.count(unsigned(row.wall_us), times);
        }
    }

    /// Adds them to the table, of which something may be known: to minute, hour and day, as far as these are kept.
    pub(crate) async fn write(self, tx: &DatabaseTransaction, table: &mut Table) -> Result<(), DbErr> {
        let now = Timestamp::now();
        let mut changes = Changes::new();
        for ((account, minute, dimensions), change) in self.0 {
            if change.is_nothing() {
                continue;
            }
            let id = dimensions.id();
            for span in Span::ALL.into_iter().filter(|span| span.kept_since(now) <= minute) {
                let of_period = changes.entry((account, span, span.floor(minute))).or_default();
                add_to(of_period, id, dimensions.clone(), &change);
            }
        }
        table.load(tx, &changes).await?;
        table.count(tx, &changes).await?;
        table.load(tx, &table.folded(&changes)).await?;
        let changes = table.placed(changes);
        table.load(tx, &changes).await?;
        for (place, of_period) in changes {
            for (id, (dimensions, change)) in of_period {
                table.change((place, id), dimensions, &change);
            }
        }
        table.write(tx).await
    }
}

/// Sums as the last transaction has left them, so that the next one need not read those of periods that go on. Every
/// transaction that changes sums has a turn, which is a number: one that is not the next has had others before it, and then
/// nothing is known.
#[derive(Default)]
pub(crate) struct Recent {
    turn: i64,
    rows: HashMap<RowKey, usage_sums::Model>,
}

impl Recent {
    /// What the transaction of this turn knows. It is forgotten here: only what is committed is kept.
    pub(crate) fn take(&mut self, turn: i64) -> Table {
        let rows = std::mem::take(&mut self.rows);
        let is_next = self.turn.checked_add(1) == Some(turn);
        Table { rows: if is_next { rows } else { HashMap::new() }, ..Table::default() }
    }

    /// The transaction of this turn is committed, and has left these. Of periods that are over there is little to come.
    pub(crate) fn keep(&mut self, turn: i64, table: Table, now: Timestamp) {
        let mut rows = table.rows;
        rows.retain(|((_, span, began), _), _| span.floor(now) <= *began);
        if rows.len() > RECENT_MAX {
            rows = HashMap::new();
        }
        (self.turn, self.rows) = (turn, rows);
    }
}

/// The rows of the table that a batch changes.
#[derive(Default)]
pub(crate) struct Table {
    rows: HashMap<RowKey, usage_sums::Model>,
    changed: BTreeSet<RowKey>,
    /// How many rows those periods have that would get new ones.
    counts: HashMap<Place, u64>,
}

impl Table {
    /// Reads those of these rows that there are.
    async fn load(&mut self, tx: &DatabaseTransaction, changes: &Changes) -> Result<(), DbErr> {
        let mut wanted: Vec<loops::UsageRows> = Vec::new();
        for (place, of_period) in changes {
            let missing = of_period.keys().filter(|id| !self.rows.contains_key(&(*place, **id)));
            let ids: Vec<Vec<u8>> = missing.map(|id| id.to_vec()).collect();
            if !ids.is_empty() {
                wanted.push((place.0, place.1.seconds(), place.2, ids));
            }
        }
        // A batch has some thousand runs at most, and so all ids of it fit into one statement.
        for some in wanted.chunks(PERIODS_MAX) {
            for row in loops::usage_rows(some.to_vec()).all(tx).await? {
                let place = place_of(row.account_id.0, row.span, row.began.0);
                if let (Some(place), Ok(id)) = (place, DimensionsId::try_from(row.id.as_slice())) {
                    self.rows.insert((place, id), row);
                }
            }
        }
        Ok(())
    }

    /// Counts the rows of those periods that would get new ones.
    async fn count(&mut self, tx: &DatabaseTransaction, changes: &Changes) -> Result<(), DbErr> {
        let grows = |(place, of_period): &(&Place, &OfPeriod)| {
            of_period.keys().any(|id| !self.rows.contains_key(&(**place, *id)))
        };
        let places: Vec<Place> = changes.iter().filter(grows).map(|(place, _)| *place).collect();
        for some in places.chunks(PERIODS_MAX) {
            let asked = some.iter().map(|place| (place.0, place.1.seconds(), place.2)).collect();
            let counts: Vec<(Col<AccountId>, i32, Col<Timestamp>, i64)> =
                loops::usage_counts(asked).into_tuple().all(tx).await?;
            for (account, span, began, count) in counts {
                if let Some(place) = place_of(account.0, span, began.0) {
                    self.counts.insert(place, unsigned(count));
                }
            }
        }
        Ok(())
    }

    /// What the changes may become in periods that are full.
    fn folded(&self, changes: &Changes) -> Changes {
        let is_full = |place: &Place| self.counts.get(place).is_some_and(|count| *count >= KEYS_MAX);
        let fold = |of_period: &OfPeriod| -> OfPeriod {
            let folded = of_period.values().map(|(dimensions, _)| dimensions.folded());
            folded.map(|folded| (folded.id(), (folded, Change::default()))).collect()
        };
        let full = changes.iter().filter(|(place, _)| is_full(place));
        full.map(|(place, of_period)| (*place, fold(of_period))).collect()
    }

    /// The changes, each with a combination for which its period has room.
    fn placed(&mut self, changes: Changes) -> Changes {
        let (mut new, mut placed): (HashSet<RowKey>, Changes) = (HashSet::new(), Changes::new());
        for (place, of_period) in changes {
            let count = self.counts.entry(place).or_default();
            let to = placed.entry(place).or_default();
            for (id, (dimensions, change)) in of_period {
                let is_there = |id: DimensionsId| {
                    let key = (place, id);
                    self.rows.contains_key(&key) || new.contains(&key)
                };
                let (id, dimensions) = room_for((id, dimensions), &change, *count, is_there);
                if !self.rows.contains_key(&(place, id)) && new.insert((place, id)) {
                    *count += 1;
                }
                add_to(to, id, dimensions, &change);
            }
        }
        placed
    }

    fn change(&mut self, key: RowKey, dimensions: Dimensions, change: &Change) {
        // What was never counted, or is no longer kept, cannot be taken away.
        if change.takes_away() && !self.rows.contains_key(&key) {
            return;
        }
        let row = self.rows.entry(key).or_insert_with(|| empty(key, dimensions));
        change.apply(row);
        self.changed.insert(key);
    }

    async fn write(&mut self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        use usage_sums::Column;
        let changed = std::mem::take(&mut self.changed).into_iter();
        let (keys, rows): (Vec<RowKey>, Vec<usage_sums::Model>) =
            changed.filter_map(|key| Some((key, self.rows.remove(&key)?))).unzip();
        bulk::replace(tx, &rows, &[Column::AccountId, Column::Span, Column::Began, Column::Id]).await?;
        self.rows.extend(keys.into_iter().zip(rows));
        Ok(())
    }
}

fn place_of(account: AccountId, span: i32, began: Timestamp) -> Option<Place> {
    let span = Span::ALL.into_iter().find(|known| known.seconds() == span)?;
    Some((account, span, began))
}

/// The combination that this one counts as, in a period of so many.
fn room_for(
    (id, dimensions): (DimensionsId, Dimensions),
    change: &Change,
    count: u64,
    is_there: impl Fn(DimensionsId) -> bool,
) -> (DimensionsId, Dimensions) {
    if is_there(id) {
        return (id, dimensions);
    }
    let with_id = |dimensions: Dimensions| (dimensions.id(), dimensions);
    if count >= KEYS_MAX {
        let folded = with_id(dimensions.folded());
        let has_room = count < 2 * KEYS_MAX || is_there(folded.0);
        return if has_room { folded } else { with_id(dimensions.folded_with_functions()) };
    }
    // What is not there was counted before anything but the function was kept.
    if change.takes_away() { with_id(dimensions.unknown()) } else { (id, dimensions) }
}

/// A row of which nothing is known yet.
fn empty(((account, span, began), id): RowKey, dimensions: Dimensions) -> usage_sums::Model {
    let mut row = figures::empty(account.into(), span.seconds(), began.into());
    dimensions.put(id, &mut row);
    row
}

/// Deletes minutes and hours that are kept no longer.
pub(crate) async fn prune(db: &Db, now: Timestamp) -> Result<(), DbErr> {
    for span in [Span::Minute, Span::Hour] {
        let (seconds, before) = (span.seconds(), span.kept_since(now));
        loops::delete_in_steps(db, |most| loops::usage_too_old(seconds, before, most)).await?;
    }
    Ok(())
}
