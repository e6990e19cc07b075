//! From settled runs to a block.

use protocol::{AccountId, Timestamp};

use crate::tally::Tally;
use crate::{BLOCK_RUNS_MAX, Error, FORMAT, FRAME_RUNS_MAX, Header, Month, Run, Salt, body, line};

/// A new block: its header, and its body for the store.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The header.
    pub header: Header,
    /// The header's text, to be kept as it is.
    pub text: String,
    /// The body as it is stored: what [`Body::open`](crate::Body::open) reads.
    pub body: Vec<u8>,
}

/// Seals settled runs into the block after the one whose header's text is `previous`; the first has none. The runs come in
/// any order. The same arguments make the same block.
///
/// Where the clock went back, the origin is that of the block before.
///
/// # Errors
/// Where there is no run, more than [`BLOCK_RUNS_MAX`], one of another account, two of one id, or one that cannot be
/// written; and where `previous` is no header of this account's blocks.
pub fn seal(
    account: AccountId,
    salt: Salt,
    previous: Option<&str>,
    now: Timestamp,
    runs: Vec<Run>,
) -> Result<Sealed, Error> {
    framed(FRAME_RUNS_MAX, account, salt, previous, now, runs)
}

/// As [`seal`], with so many runs in a frame.
pub(crate) fn framed(
    frame_runs: usize,
    account: AccountId,
    salt: Salt,
    previous: Option<&str>,
    now: Timestamp,
    mut runs: Vec<Run>,
) -> Result<Sealed, Error> {
    let count = runs.len();
    let too_many = |_| Error::TooMany { runs: count };
    let lines = u32::try_from(count).map_err(too_many)?;
    if count > BLOCK_RUNS_MAX {
        return Err(Error::TooMany { runs: count });
    }
    if let Some(run) = runs.iter().find(|run| run.account != account) {
        return Err(Error::OtherAccount { run: run.run, account: run.account });
    }
    runs.sort_unstable_by_key(|run| run.run);
    if let Some(run) = runs.windows(2).find_map(|pair| (pair[0].run == pair[1].run).then_some(pair[0].run)) {
        return Err(Error::Twice { run });
    }
    let before = previous.map(Header::parse).transpose()?;
    let number = before.as_ref().map_or(1, |before| before.number.saturating_add(1));
    if before.as_ref().is_some_and(|before| before.account != account) {
        return Err(Error::Chain { block: number, why: "the one before is of another account" });
    }
    let origin = before.as_ref().map_or(now, |before| before.origin.max(now));
    let month = Month::of(origin)?;

    let mut tally = Tally::default();
    let mut packer = body::Packer::new(account, number)?;
    for frame in runs.chunks(frame_runs) {
        let mut text = Vec::new();
        for run in frame {
            let line = line::write(run)?;
            tally.add_line(&line);
            tally.add_run(run);
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        packer.add(frame, &text)?;
    }
    let (Some((first, last)), Some((began, ended))) = (tally.ids(), tally.times()) else { return Err(Error::Empty) };
    let header = Header {
        format: FORMAT,
        account,
        number,
        origin,
        runs: lines,
        first,
        last,
        began,
        ended,
        totals: tally.totals(),
        month,
        month_totals: Header::running(before.as_ref(), month, tally.totals()),
        body: tally.digest(),
        salt,
        previous: previous.map(Header::digest_of),
    };
    Ok(Sealed { text: header.text(), header, body: packer.finish()? })
}
