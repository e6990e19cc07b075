//! Downloaded blocks, as lines of JSON: how they are written, and how a reader checks them.
//!
//! ```text
//! {"block":{..header..}}                        its runs follow, in the order of ids
//! {"run":"run_..",..}
//! {"block":{..header..},"body_gone":true}       its body is no longer kept
//! {"block":{..header..},"outside":true}         no run of it is of the period: it stands here for the chain
//! {"damaged":{"block":7,"why":".."}}            lines of the block before it may be missing, for this reason
//! ```
//!
//! Blocks stand in the order of their numbers, from the first to the last that has runs of the period, without gaps. A
//! header stands there as its text was written, so that its digest can be checked.

use protocol::Timestamp;

use crate::{Error, Header, Run, Totals};

/// What stands after a block's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Its runs.
    Follow,
    /// Nothing: the body is no longer kept.
    Gone,
    /// Nothing: no run of it is of the period.
    Outside,
}

/// The line of a block, with its line feed. `header` is the header's text.
#[must_use]
pub fn block_line(header: &str, lines: Lines) -> String {
    todo!()
}

/// The line that says that lines of a block are missing, and why; with its line feed.
#[must_use]
pub fn damaged_line(block: u64, why: &str) -> String {
    todo!()
}

/// From when to when runs were received: `from` included, `to` not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// The first moment; none: from the beginning.
    pub from: Option<Timestamp>,
    /// The first moment after; none: up to now.
    pub to: Option<Timestamp>,
}

impl Period {
    /// Whether this moment is of it.
    #[must_use]
    pub fn has(&self, moment: Timestamp) -> bool {
        todo!()
    }

    /// Whether a moment of it is from `began` to `ended`, both included.
    #[must_use]
    pub fn overlaps(&self, began: Timestamp, ended: Timestamp) -> bool {
        todo!()
    }
}

/// Reads a download line by line: checks each block, the chain, and adds up the runs of the period.
///
/// It keeps no more than the figures of runs that were settled without the gateway's half, because only they can be
/// corrected by a later block.
#[derive(Debug)]
pub struct Reader {}

/// What a line was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A block begins.
    Block(Box<Header>),
    /// A run, in the period or not.
    Run {
        /// The run.
        run: Box<Run>,
        /// It stands for a line of an earlier block, which does not count any more.
        corrects: bool,
    },
    /// It says that lines are missing, or it is wrong: see [`Report::faults`].
    Fault,
}

/// What a download has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many blocks, by their headers.
    pub blocks: u64,
    /// The numbers of the first and the last of them.
    pub numbers: Option<(u64, u64)>,
    /// How many of them have runs in the period, as far as their headers tell, but no body any more.
    pub gone: u64,
    /// How many lines stood for a line of an earlier block.
    pub corrected: u64,
    /// The sums of the period's runs: of each the last line.
    pub totals: Totals,
    /// What is wrong, in the order of the lines: the first [`FAULTS_MAX`].
    pub faults: Vec<Fault>,
    /// How many faults there are in all.
    pub faults_count: u64,
}

/// So many faults are kept.
pub const FAULTS_MAX: usize = 100;

impl Report {
    /// Whether the sums are those of all of the period's runs in these blocks: nothing is wrong, and no body is gone.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        todo!()
    }
}

/// Something that is wrong with a download.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// The line, from 1, at which it was found.
    pub line: u64,
    /// What is wrong.
    pub what: FaultKind,
}

/// What can be wrong with a download.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// A block, its header or its place in the chain.
    #[error(transparent)]
    Block(#[from] Error),
    /// The platform says that lines are missing.
    #[error("block {block} is not complete: {why}")]
    Missing {
        /// The block's number.
        block: u64,
        /// Why, as the platform says.
        why: String,
    },
    /// A line that is of no known kind, or of a run before the first block.
    #[error("{0}")]
    Line(String),
}

impl Reader {
    /// A reader that adds up the runs of this period.
    #[must_use]
    pub fn new(period: Period) -> Self {
        todo!()
    }

    /// Reads the next line, with or without its line feed.
    pub fn line(&mut self, line: &[u8]) -> Event {
        todo!()
    }

    /// All lines were read.
    #[must_use]
    pub fn end(self) -> Report {
        todo!()
    }
}
