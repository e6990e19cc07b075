//! The runs of several blocks as one list, newest first.

use protocol::RunId;

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
///             Ok(body) => newest.give(number, body)?,     // an error: log it; the block was dropped
///             Err(_) => newest.lost(number),
///         },
///         Ok(Next::Run(run)) => page.push(run),
///         Ok(Next::End) => break,
///         Err(error) => log(error),                       // the damaged frame is passed over; go on
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Newest {}

impl Newest {
    /// A list of these blocks of one account, in any order. `before`: only runs with lesser ids, as a page's cursor says.
    ///
    /// `floor` is the greatest `last` of the account's older blocks that are *not* among `spans`, where there are such:
    /// runs with this id and lesser ones are left to them, for only they can tell what comes next. [`Newest::rest`] is
    /// the cursor with which to go on.
    #[must_use]
    pub fn new(spans: Vec<Span>, before: Option<RunId>, floor: Option<RunId>) -> Self {
        todo!()
    }

    /// Goes on until something is needed or found. Unpacks one frame at most for each block that overlaps.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a frame or line is: it is passed over, and the next call goes on after it.
    pub fn step(&mut self) -> Result<Next, Error> {
        todo!()
    }

    /// Brings a body that [`Next::Body`] has asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is not the body of that block: the block is passed over.
    pub fn give(&mut self, number: u64, body: Body) -> Result<(), Error> {
        todo!()
    }

    /// Says that a block's body cannot be had: its runs are passed over.
    pub fn lost(&mut self, number: u64) {
        todo!()
    }

    /// No run that is still to come has a greater id than this; none: none is to come. Nothing is read for it, so that
    /// newer runs of another source can be listed first without asking for a body.
    #[must_use]
    pub fn bound(&self) -> Option<RunId> {
        todo!()
    }

    /// Passes over all runs with this id and greater ones, as when another source had them.
    pub fn below(&mut self, before: RunId) {
        todo!()
    }

    /// After [`Next::End`]: the cursor (`before`) of what is left to blocks below `floor`; none where nothing is.
    #[must_use]
    pub fn rest(&self) -> Option<RunId> {
        todo!()
    }
}
