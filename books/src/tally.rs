//! What a header says of a body, reckoned line by line.

use protocol::{Digest, RunId, Timestamp};

use crate::{Header, Run, Totals};

/// Adds up a body's lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    hasher: blake3::Hasher,
    runs: u64,
    ids: Option<(RunId, RunId)>,
    times: Option<(Timestamp, Timestamp)>,
    totals: Totals,
}

impl Tally {
    /// Adds the text of the next line, without its line feed.
    pub(crate) fn add_line(&mut self, line: &[u8]) {
        self.hasher.update(line).update(b"\n");
        self.runs += 1;
    }

    /// Adds the run of that line. Whether its id is greater than that of the one before.
    pub(crate) fn add_run(&mut self, run: &Run) -> bool {
        let ordered = self.ids.is_none_or(|(_, last)| last < run.run);
        self.ids = Some((self.ids.map_or(run.run, |(first, _)| first), run.run));
        let (began, ended) = self.times.unwrap_or((run.received, run.received));
        self.times = Some((began.min(run.received), ended.max(run.received)));
        self.totals.add(&Totals::of(run));
        ordered
    }

    /// The digest of all lines.
    pub(crate) fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// The first and the last id.
    pub(crate) const fn ids(&self) -> Option<(RunId, RunId)> {
        self.ids
    }

    /// The least and the greatest `received`.
    pub(crate) const fn times(&self) -> Option<(Timestamp, Timestamp)> {
        self.times
    }

    /// The sums.
    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    /// In what this differs from what a header says.
    pub(crate) fn differs(&self, header: &Header) -> Option<&'static str> {
        let checks = [
            (self.runs == u64::from(header.runs), "it has another number of runs than its header says"),
            (self.digest() == header.body, "its text is not what its header commits to"),
            (self.ids == Some((header.first, header.last)), "its ids are not those of its header"),
            (self.times == Some((header.began, header.ended)), "its times are not those of its header"),
            (self.totals == header.totals, "its sums are not those of its header"),
        ];
        checks.into_iter().find(|(same, _)| !same).map(|(_, why)| why)
    }
}
