//! The scrub: the check in the background, so slowly that it takes 30 days. What it has come to is noted, so that the next
//! leader goes on.

use std::time::Duration;

use protocol::api::StoreScrub;
use protocol::{BlobId, ByteSize};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::check::{Checked, Checker};
use super::pace::Pace;
use super::{Care, CareError, notes, status};
use crate::db::now;

/// Between the beginnings of two passes.
const PASS_EVERY: Duration = Duration::from_secs(30 * 86_400);
/// Between two shares of it.
const SHARE_EVERY: Duration = Duration::from_secs(60);
/// So many shares are done in less than a pass may take.
const SHARES: u64 = 29 * 86_400 / 60;
/// The note of it.
pub(super) const NOTE: &str = "scrub";

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scrubbed {
    pub(super) scrub: StoreScrub,
    /// Blobs there were when it began.
    of: u64,
    after: Option<BlobId>,
}

/// What the leader remembers of it.
pub(super) struct Scrub {
    care: Care,
    noted: Option<Scrubbed>,
    checker: Option<Checker>,
    /// Blobs that are left of the present share.
    due: u64,
    next_share: Instant,
}

impl Scrub {
    pub(super) fn new(care: &Care) -> Self {
        // Whoever has just started has other things to do.
        let next_share = Instant::now() + SHARE_EVERY;
        Self { care: care.clone(), noted: None, checker: None, due: 0, next_share }
    }

    /// Another one may have led meanwhile.
    pub(super) fn begin_anew(&mut self) {
        (self.noted, self.checker, self.due) = (None, None, 0);
    }

    /// The next share is due.
    #[cfg(test)]
    pub(super) fn hurry(&mut self) {
        self.next_share = Instant::now();
    }

    /// Does what is due, but not beyond this time. False: nothing is due now.
    pub(super) async fn go_on(&mut self, pace: &mut Pace, until: Instant) -> Result<bool, CareError> {
        if self.due == 0 {
            if Instant::now() < self.next_share {
                return Ok(false);
            }
            self.next_share = Instant::now() + SHARE_EVERY;
            self.begin_share().await?;
            if self.due == 0 {
                return Ok(false);
            }
        }
        let Some(noted) = &mut self.noted else { return Ok(false) };
        let checker = self.checker.get_or_insert_with(|| Checker::new(&self.care, noted.after));
        while self.due > 0 && Instant::now() < until {
            match Box::pin(checker.step(pace)).await? {
                Checked::Read(bytes) => noted.scrub.bytes.0 += bytes.0,
                Checked::Blob(finding) => {
                    self.due -= 1;
                    noted.scrub.blobs += 1;
                    noted.after = checker.after();
                    if let Some(finding) = finding {
                        noted.scrub.found += 1;
                        noted.scrub.lost += u64::from(finding.lost || finding.unreadable);
                        let (blob, account) = (finding.blob, finding.account);
                        let (damaged, copies) = (finding.damaged_on.join(", "), finding.copies_now);
                        tracing::error!(%blob, ?account, owners = ?finding.owners, damaged, copies, "a blob was not whole");
                    }
                }
                Checked::End => {
                    noted.scrub.ended = Some(now(self.care.db.read()).await?);
                    self.due = 0;
                }
            }
        }
        if self.due == 0 {
            self.checker = None;
        }
        notes::write(&self.care.db, NOTE, noted).await?;
        fabric::fault::point("scrub.noted");
        Ok(self.due > 0)
    }

    /// How many blobs are due now: none until the next pass begins.
    async fn begin_share(&mut self) -> Result<(), CareError> {
        let noted = match self.noted.take() {
            Some(noted) => Some(noted),
            None => notes::read::<Scrubbed>(&self.care.db, NOTE).await?,
        };
        let now = now(self.care.db.read()).await?;
        let is_over = |noted: &Scrubbed| noted.scrub.ended.is_some() && noted.scrub.began.plus(PASS_EVERY) <= now;
        let noted = match noted.filter(|noted| !is_over(noted)) {
            Some(noted) => noted,
            None => {
                let of = status::count(self.care.db.read()).await?.blobs;
                let scrub = StoreScrub { began: now, ended: None, blobs: 0, bytes: ByteSize(0), found: 0, lost: 0 };
                Scrubbed { scrub, of, after: None }
            }
        };
        self.due = if noted.scrub.ended.is_some() { 0 } else { noted.of.div_ceil(SHARES).max(1) };
        self.noted = Some(noted);
        Ok(())
    }
}
