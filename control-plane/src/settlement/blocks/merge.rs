//! An account's blocks as one list, the newest run first, read as far as somebody asks.

use std::collections::{BTreeSet, HashMap, VecDeque};

use books::{Newest, Next, Run, Span};
use protocol::{AccountId, RunId};
use sea_orm::{ColumnTrait as _, ConnectionTrait, QueryFilter as _, QuerySelect as _};

use super::summary::Summary;
use super::{BlockError, Place, apart, body, lost};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::blocks;
use crate::db::loops;
use crate::error::{Error, Result};
use crate::objects::Address;
use crate::settlement::filter::Wanted;

/// Blocks that a page looks into.
const BLOCKS_MAX: usize = 64;
/// Blocks whose summaries a page looks at.
const SUMMARIES_MAX: usize = 512;
/// Runs that are unpacked ahead.
const AHEAD: usize = 64;

/// See the module.
pub(super) struct Merged {
    app: App,
    account: AccountId,
    addresses: HashMap<u64, Address>,
    /// None: they have come to their end.
    newest: Option<Newest>,
    ahead: VecDeque<Run>,
    from: Option<RunId>,
    /// Runs with this id and lesser ones are left to blocks that are not looked at.
    floor: Option<RunId>,
    /// Blocks that cannot be read, or not all of them.
    pub(super) damaged: BTreeSet<u64>,
}

/// The columns of a [`Place`].
pub(super) fn places(query: sea_orm::Select<blocks::Entity>) -> sea_orm::Selector<sea_orm::SelectModel<Place>> {
    let columns = [
        blocks::Column::Number,
        blocks::Column::FirstRun,
        blocks::Column::LastRun,
        blocks::Column::Corrects,
        blocks::Column::Summary,
        blocks::Column::Root,
        blocks::Column::Blob,
    ];
    query.select_only().columns(columns).into_model::<Place>()
}

impl Merged {
    /// Of what is wanted, the runs with lesser ids than `before`.
    pub(super) async fn open<C: ConnectionTrait>(
        app: &App,
        connection: &C,
        wanted: &Wanted,
        before: RunId,
    ) -> Result<Self> {
        let account = wanted.account;
        // All that reach beyond the place where the page begins, however many: only together they tell what comes first.
        let begun = loops::blocks_since(account, before).filter(blocks::Column::FirstRun.lt(Col(before)));
        let mut chosen = places(begun).all(connection).await?;
        // One line more tells where the rest begins.
        let most = u64::try_from(SUMMARIES_MAX + 1).unwrap_or(u64::MAX);
        let mut earlier = loops::blocks_before(account, before, most);
        if let Some(from) = wanted.from {
            earlier = earlier.filter(blocks::Column::LastRun.gte(Col(from)));
        }
        let mut earlier = places(earlier).all(connection).await?;
        let mut floor = (earlier.len() > SUMMARIES_MAX).then(|| earlier.pop()).flatten().map(|place| place.last_run.0);
        // A block that corrects others is needed, whatever it has, where they are.
        let fits = |place: &Place| place.corrects || Summary::may_have(&place.summary, wanted);
        chosen.retain(fits);
        earlier.retain(fits);
        if earlier.len() > BLOCKS_MAX {
            floor = earlier.get(BLOCKS_MAX).map(|place| place.last_run.0);
            earlier.truncate(BLOCKS_MAX);
        }
        chosen.append(&mut earlier);
        let span = |place: &Place| Span { number: place.number(), first: place.first_run.0, last: place.last_run.0 };
        let spans: Vec<Span> = chosen.iter().map(span).collect();
        let address = |place: Place| Some((place.number(), place.address()?));
        Ok(Self {
            app: app.clone(),
            account,
            addresses: chosen.into_iter().filter_map(address).collect(),
            newest: Some(Newest::new(spans, Some(before), floor)),
            ahead: VecDeque::new(),
            from: wanted.from,
            floor,
            damaged: BTreeSet::new(),
        })
    }

    /// No run that is still to come has a greater id than this; none: none is to come.
    pub(super) fn bound(&self) -> Option<RunId> {
        let ahead = self.ahead.front().map(|run| run.run);
        let bound = ahead.or_else(|| self.newest.as_ref()?.bound());
        bound.filter(|bound| self.from.is_none_or(|from| *bound >= from))
    }

    /// Passes over this run, and whatever is newer.
    pub(super) fn below(&mut self, run: RunId) {
        while self.ahead.pop_front_if(|first| first.run >= run).is_some() {}
        if let Some(newest) = &mut self.newest {
            newest.below(run);
        }
    }

    /// The next run stays to be taken; its id.
    pub(super) async fn peek(&mut self) -> Result<Option<RunId>> {
        while self.ahead.is_empty() && self.bound().is_some() {
            self.unpack().await?;
        }
        Ok(self.bound())
    }

    /// The next run, where one was peeked at.
    pub(super) fn take(&mut self) -> Option<Run> {
        self.ahead.pop_front()
    }

    /// When there is nothing more to come: runs with lesser ids than this are left to blocks that were not looked at.
    pub(super) fn left(&self) -> Option<RunId> {
        let next = |floor: RunId| RunId::from_uuid(uuid::Uuid::from_u128(floor.uuid().as_u128().saturating_add(1)));
        self.floor.map(next).filter(|left| self.from.is_none_or(|from| *left > from))
    }

    /// Unpacks some runs, or reads the block that has them.
    async fn unpack(&mut self) -> Result<()> {
        let Some(mut newest) = self.newest.take() else { return Ok(()) };
        let work = move || {
            let (mut runs, mut damaged) = (VecDeque::new(), Vec::new());
            let (newest, needed) = loop {
                match newest.step() {
                    Ok(Next::Run(run)) => runs.push_back(*run),
                    Ok(Next::Body(number)) => break (Some(newest), Some(number)),
                    Ok(Next::End) => break (None, None),
                    Err(error) => damaged.push(error),
                }
                if runs.len() >= AHEAD {
                    break (Some(newest), None);
                }
            };
            (newest, runs, damaged, needed)
        };
        let (newest, runs, damaged, needed) = apart(work).await?;
        (self.newest, self.ahead) = (newest, runs);
        for error in damaged {
            self.is_damaged(None, &error.into());
        }
        match needed {
            Some(number) if self.ahead.is_empty() => self.read(number).await,
            _ => Ok(()),
        }
    }

    async fn read(&mut self, number: u64) -> Result<()> {
        let read = match self.addresses.get(&number) {
            Some(address) => body(&self.app, self.app.db.read(), (self.account, number), *address).await,
            None => Err(books::Error::Body { why: "it has no body" }.into()),
        };
        let newest = self.newest.as_mut().ok_or_else(|| Error::Internal("a list without its blocks".to_owned()))?;
        let given = match read {
            Ok(body) => newest.give(number, body).map_err(BlockError::from),
            Err(error) => {
                newest.lost(number);
                Err(error)
            }
        };
        if let Err(error) = given {
            self.is_damaged(Some(number), &error);
        }
        Ok(())
    }

    fn is_damaged(&mut self, number: Option<u64>, error: &BlockError) {
        let named = match error {
            BlockError::Body(books::Error::Damaged { block, .. }) => Some(*block),
            _ => number,
        };
        if let Some(number) = named {
            lost(self.account, number, error);
            self.damaged.insert(number);
        }
    }
}
