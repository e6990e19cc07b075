//! Blocks: lines of one account in the order in which they came, as compressed JSON lines; and what their index says of them.
//! Nothing here does I/O.

use std::collections::BTreeSet;
use std::io;

use protocol::node::{LogLine, LogStream};
use protocol::{Digest, FunctionId, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::db::entities::run_logs;

/// Bytes of a block's text: what a reader decompresses at once.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one line's text. In JSON a byte may become six: a line always fits into a block.
pub(super) const LINE_BYTES_MAX: usize = 128 << 10;
/// What a line has beside its text, about.
pub(super) const LINE_BYTES: usize = 200;
/// Functions that a block's index names; where there are more, it says that they are many.
const FUNCTIONS_MAX: usize = 64;
const ZSTD_LEVEL: i32 = 3;

/// A line as a block has it. What a later release adds is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) id: i64,
    pub(super) function: FunctionId,
    pub(super) run: RunId,
    pub(super) sequence: u32,
    pub(super) at: Timestamp,
    pub(super) stream: LogStream,
    pub(super) text: String,
}

impl From<run_logs::Model> for Line {
    fn from(row: run_logs::Model) -> Self {
        Self {
            id: row.id,
            function: row.function_id.0,
            run: row.run_id.0,
            sequence: u32::try_from(row.sequence).unwrap_or(0),
            at: row.at.0,
            stream: row.stream.0,
            text: row.text,
        }
    }
}

impl From<Line> for LogLine {
    fn from(line: Line) -> Self {
        Self { run: line.run, sequence: line.sequence, at: line.at, stream: line.stream, text: line.text }
    }
}

/// At most so many bytes of a text, and whole characters.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
    text
}

/// What the index says of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) first_line: i64,
    pub(super) last_line: i64,
    pub(super) first_run: RunId,
    pub(super) last_run: RunId,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) lines: usize,
    /// Of the text.
    pub(super) bytes: usize,
    /// None: many.
    pub(super) functions: Option<Vec<FunctionId>>,
    pub(super) run_filter: Vec<u8>,
}

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct Draft {
    lines_max: usize,
    text: Vec<u8>,
    /// Of its first line; it grows with each further one.
    summary: Option<Summary>,
    functions: BTreeSet<FunctionId>,
    runs: BTreeSet<RunId>,
}

impl Draft {
    pub(super) fn new(lines_max: usize) -> Self {
        Self { lines_max, text: Vec::new(), summary: None, functions: BTreeSet::new(), runs: BTreeSet::new() }
    }

    /// Takes the next line, of a greater id than the one before; not where the block is full.
    pub(super) fn push(&mut self, line: Line) -> io::Result<bool> {
        let line = Line { text: cut(line.text), ..line };
        let mut json = serde_json::to_vec(&line)?;
        json.push(b'\n');
        let summary = self.summary.get_or_insert_with(|| Summary {
            first_line: line.id,
            last_line: line.id,
            first_run: line.run,
            last_run: line.run,
            began: line.at,
            ended: line.at,
            lines: 0,
            bytes: 0,
            functions: None,
            run_filter: Vec::new(),
        });
        if summary.lines > 0 && (summary.lines >= self.lines_max || self.text.len() + json.len() > TEXT_BYTES_MAX) {
            return Ok(false);
        }
        summary.last_line = line.id;
        summary.first_run = summary.first_run.min(line.run);
        summary.last_run = summary.last_run.max(line.run);
        summary.began = summary.began.min(line.at);
        summary.ended = summary.ended.max(line.at);
        summary.lines += 1;
        self.text.extend_from_slice(&json);
        // One more than are named says that they are many.
        if self.functions.len() <= FUNCTIONS_MAX {
            self.functions.insert(line.function);
        }
        self.runs.insert(line.run);
        Ok(true)
    }

    /// The block's bytes and what its index says; none where it is empty.
    pub(super) fn seal(self) -> io::Result<Option<(Vec<u8>, Summary)>> {
        let Some(summary) = self.summary else { return Ok(None) };
        let functions = (self.functions.len() <= FUNCTIONS_MAX).then(|| self.functions.into_iter().collect());
        let run_filter = filter_of(&self.runs);
        let summary = Summary { bytes: self.text.len(), functions, run_filter, ..summary };
        Ok(Some((zstd::bulk::compress(&self.text, ZSTD_LEVEL)?, summary)))
    }
}

/// A block's lines, where it has so many of them. Whatever the bytes are, it takes no more memory than a block does.
pub(super) fn unpack(bytes: &[u8], lines: usize) -> io::Result<Vec<Line>> {
    let text = zstd::bulk::decompress(bytes, TEXT_BYTES_MAX)?;
    let found = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let found: Vec<Line> = found.map(serde_json::from_slice).collect::<Result<_, _>>()?;
    match found.len() == lines && found.is_sorted_by(|before, after| before.id < after.id) {
        true => Ok(found),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A Bloom filter with 8 bits for each run. Without it a run that writes for an hour would make each block of that hour one
/// that may have lines of any other run.
fn filter_of(runs: &BTreeSet<RunId>) -> Vec<u8> {
    let mut filter = vec![0; runs.len().next_power_of_two().clamp(8, 8192)];
    for run in runs {
        for (byte, bit) in places(*run, filter.len()) {
            filter[byte] |= bit;
        }
    }
    filter
}

/// Whether a block with this filter may have lines of the run.
pub(super) fn may_hold(filter: &[u8], run: RunId) -> bool {
    places(run, filter.len()).into_iter().all(|(byte, bit)| filter.get(byte).is_none_or(|bits| bits & bit != 0))
}

fn places(run: RunId, bytes: usize) -> [(usize, u8); 3] {
    let [a, b, c, d, e, f, ..] = Digest::of(run.uuid().as_bytes()).0;
    [[a, b], [c, d], [e, f]].map(|pair| {
        let place = usize::from(u16::from_be_bytes(pair));
        ((place / 8) % bytes.max(1), 1 << (place % 8))
    })
}

#[cfg(test)]
mod tests;
