//! Lines of runs: one is written and read here, and those of a frame are found by their ids without reading the rest.

use std::ops::Range;

use protocol::{RunId, wire};

use crate::{Error, LINE_BYTES_MAX, Month, Run};

/// What each line begins with, before the id.
const HEAD: &[u8] = br#"{"run":""#;
/// How long an id is: its prefix and 32 digits.
const ID_BYTES: usize = RunId::PREFIX.len() + 1 + 32;

/// The id of the run whose line this is; none where it is no such line.
pub(crate) fn id_of(line: &[u8]) -> Option<RunId> {
    let rest = line.strip_prefix(HEAD)?;
    let (id, rest) = rest.split_at_checked(ID_BYTES)?;
    let id = std::str::from_utf8(id).ok().filter(|_| rest.first() == Some(&b'"'))?;
    id.parse().ok()
}

/// Writes a run's line, without its line feed.
pub(crate) fn write(run: &Run) -> Result<Vec<u8>, Error> {
    // A time out of range has no text.
    Month::of(run.received)?;
    let wrong = |why: String| Error::Line { run: run.run, why };
    let line = serde_json::to_vec(run).map_err(|error| wrong(error.to_string()))?;
    match line.len() {
        0..=LINE_BYTES_MAX => Ok(line),
        length => Err(wrong(format!("{length} bytes are more than the {LINE_BYTES_MAX} of a line"))),
    }
}

/// Reads a run's line, without its line feed.
pub(crate) fn read(line: &[u8]) -> Result<Run, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("a line of {} bytes is too long", line.len()));
    }
    let run: Run = wire::read(line).map_err(|error| error.to_string())?;
    Month::of(run.received).map_err(|error| error.to_string())?;
    Ok(run)
}

/// The lines of a frame.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    text: Vec<u8>,
    lines: Vec<(RunId, Range<usize>)>,
}

impl Lines {
    /// Finds the lines of a text.
    pub(crate) fn of(text: Vec<u8>) -> Result<Self, &'static str> {
        let mut lines = Vec::<(RunId, Range<usize>)>::new();
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len();
            let line = line.strip_suffix(b"\n").ok_or("its last line is cut off")?;
            let id = id_of(line).ok_or("a line is not that of a run")?;
            if lines.last().is_some_and(|(last, _)| *last >= id) {
                return Err("its runs are not in the order of their ids");
            }
            lines.push((id, start..start + line.len()));
            start = end;
        }
        Ok(Self { text, lines })
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.lines.len()
    }

    /// The run of a line.
    pub(crate) fn id(&self, index: usize) -> Option<RunId> {
        self.lines.get(index).map(|(id, _)| *id)
    }

    /// The least and the greatest id.
    pub(crate) fn span(&self) -> Option<(RunId, RunId)> {
        Some((self.lines.first()?.0, self.lines.last()?.0))
    }

    /// How many of the lines are of lesser ids.
    pub(crate) fn below(&self, run: RunId) -> usize {
        self.lines.partition_point(|(id, _)| *id < run)
    }

    /// A line, without its line feed.
    pub(crate) fn line(&self, index: usize) -> Option<&[u8]> {
        self.lines.get(index).and_then(|(_, range)| self.text.get(range.clone()))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter_map(|(_, range)| self.text.get(range.clone()))
    }

    /// The text.
    pub(crate) fn into_text(self) -> Vec<u8> {
        self.text
    }
}
