//! The runs of several blocks as one list, newest first.

mod source;

use protocol::RunId;
use uuid::Uuid;

use self::source::{Source, Stage};
use crate::{Body, Error, Run};

/// A block to be read: its number and the ids that it has runs between, both included, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The block's number.
    pub number: u64,
    /// The least id of a run.
    pub first: RunId,
    /// The greatest id of a run.
    pub last: RunId,
}

/// What [`Newest::step`] comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The body of this block is needed: call [`Newest::give`] or [`Newest::lost`] with it, then go on.
    Body(u64),
    /// The next run.
    Run(Box<Run>),
    /// There are no more.
    End,
}

/// Merges blocks whose ids may overlap: all runs in descending order of ids, of one id only that of the block with the
/// greatest number. It asks for a body, and unpacks a frame, only when the next run may be in there.
///
/// ```text
/// loop {
///     match newest.step() {
///         Ok(Next::Body(number)) => match load(number).await {
///             Ok(body) => newest.give(number, body).unwrap_or_else(log),     // another block's body: it is passed over
///             Err(_) => newest.lost(number),
///         },
///         Ok(Next::Run(run)) => page.push(run),
///         Ok(Next::End) => break,
///         Err(error) => log(error),                       // the damaged frame is passed over; go on
///     }
/// }
/// ```
///
/// How: each block is a source whose key is the greatest id that its next run can have. It is known before anything is
/// read, from the header; then from the table, then from the frame. Each step looks at the source with the greatest key,
/// of several the one of the greatest block. Where that key is exact, its run is the next, and all sources go below it.
#[derive(Debug)]
pub struct Newest {
    /// Those that may have a run below `before` and above `floor`.
    sources: Vec<Source>,
    before: Option<RunId>,
    floor: Option<RunId>,
}

impl Newest {
    /// A list of these blocks of one account, in any order. `before`: only runs with lesser ids, as a page's cursor says.
    ///
    /// `floor` is the greatest `last` of the account's blocks that are *not* among `spans` but have runs below `before`,
    /// where there are such: runs with this id and lesser ones are left to them, for only they can tell what comes next.
    /// [`Newest::rest`] is the cursor with which to go on. So that there always is a next page with another cursor, all
    /// blocks must be among `spans` that overlap `before` (`first < before <= last`), then those with the greatest `last`
    /// below it, one at least, and of blocks with the same `last` all or none.
    #[must_use]
    pub fn new(mut spans: Vec<Span>, before: Option<RunId>, floor: Option<RunId>) -> Self {
        spans.sort_unstable_by_key(|span| span.number);
        spans.dedup_by_key(|span| span.number);
        let mut newest = Self { sources: spans.into_iter().map(Source::new).collect(), before, floor };
        newest.settle();
        newest
    }

    /// Goes on until something is needed or found. Unpacks one frame at most for each block that overlaps.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a frame or line is: it is passed over, and the next call goes on after it.
    pub fn step(&mut self) -> Result<Next, Error> {
        loop {
            let top = self.sources.iter_mut().enumerate().max_by_key(|(_, source)| (source.key(), source.number()));
            let Some((at, source)) = top else { return Ok(Next::End) };
            let key = source.key();
            let read = match source.advance() {
                Stage::Closed => return Ok(Next::Body(source.number())),
                Stage::Packed => source.unpack(),
                Stage::Read(read) => match *read {
                    Ok(run) => {
                        self.below(key);
                        return Ok(Next::Run(Box::new(run)));
                    }
                    // Another block may have an earlier line of that run, which is better than none.
                    Err(error) => Err(error),
                },
            };
            self.settle_one(at);
            read?;
        }
    }

    /// Brings a body that [`Next::Body`] has asked for. That it is of the right account is the caller's to know
    /// ([`Body::account`]).
    ///
    /// # Errors
    /// [`Error::Damaged`] where its number or its ids are not those of that block: the block is passed over.
    pub fn give(&mut self, number: u64, body: Body) -> Result<(), Error> {
        let Some(at) = self.sources.iter().position(|source| source.number() == number) else { return Ok(()) };
        let opened = self.sources[at].open(body);
        match opened {
            Ok(()) => self.settle_one(at),
            Err(_) => drop(self.sources.swap_remove(at)),
        }
        opened
    }

    /// Says that a block's body cannot be had: its runs are passed over.
    pub fn lost(&mut self, number: u64) {
        self.sources.retain(|source| source.number() != number);
    }

    /// No run that is still to come has a greater id than this; none: none is to come. Nothing is read for it, so that
    /// newer runs of another source can be listed first without asking for a body.
    #[must_use]
    pub fn bound(&self) -> Option<RunId> {
        self.sources.iter().map(Source::key).max()
    }

    /// Passes over all runs with this id and greater ones, as when another source had them.
    pub fn below(&mut self, before: RunId) {
        if self.before.is_none_or(|now| before < now) {
            self.before = Some(before);
            self.settle();
        }
    }

    /// After [`Next::End`]: the cursor (`before`) of what is left to blocks below `floor`; none where nothing is.
    #[must_use]
    pub fn rest(&self) -> Option<RunId> {
        let cursor = after(self.floor?);
        Some(self.before.map_or(cursor, |before| before.min(cursor)))
    }

    /// As [`Self::settle`], of one source.
    fn settle_one(&mut self, at: usize) {
        if !self.sources[at].lower(self.before, self.floor) {
            self.sources.swap_remove(at);
        }
    }

    /// Takes away what has nothing below `before`, and lowers the others' keys.
    fn settle(&mut self) {
        let (before, floor) = (self.before, self.floor);
        self.sources.retain_mut(|source| source.lower(before, floor));
    }
}

/// The next greater id.
fn after(run: RunId) -> RunId {
    RunId::from_uuid(Uuid::from_u128(run.uuid().as_u128().saturating_add(1)))
}
