//! Deletions of copies of which nobody knows whether they have been done, or will be: an engine that has not answered in time
//! may still do it, long after others have read the copy and counted it. So such a copy does not count for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::SegmentName;
use crate::engine::{EngineError, Trouble};

/// How long a copy does not count. After that it is read again.
const UNSURE_FOR: Duration = Duration::from_secs(600);

/// Of one engine at once; no copy more is deleted there meanwhile.
const UNSURE_MAX: usize = 1_000;

/// Those of one engine, in this process.
#[derive(Default)]
pub(crate) struct Unsure(Mutex<BTreeMap<SegmentName, Doubt>>);

struct Doubt {
    since: Instant,
    /// The engine has said that it failed: once it works again, nothing of this is under way.
    has_failed: bool,
}

impl Doubt {
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < UNSURE_FOR
    }
}

impl Unsure {
    /// A deletion is about to begin. False: it must not.
    pub(crate) fn begin(&self, name: SegmentName, now: Instant) -> bool {
        let mut doubts = self.0.lock();
        doubts.retain(|_, doubt| doubt.lasts(now));
        let has_place = doubts.len() < UNSURE_MAX;
        if has_place {
            doubts.insert(name, Doubt { since: now, has_failed: false });
        }
        has_place
    }

    /// What came of it. Whoever stops waiting says nothing, and it stays in doubt.
    pub(crate) fn ended(&self, name: SegmentName, deleted: &Result<(), EngineError>) {
        let mut doubts = self.0.lock();
        match deleted {
            Ok(()) => {
                doubts.remove(&name);
            }
            Err(error) => {
                if let Some(doubt) = doubts.get_mut(&name) {
                    doubt.has_failed = error.trouble != Trouble::Slow;
                }
            }
        }
    }

    /// Whether this copy may go by itself.
    pub(crate) fn has(&self, name: SegmentName, now: Instant) -> bool {
        self.0.lock().get(&name).is_some_and(|doubt| doubt.lasts(now))
    }

    /// Whether any may.
    pub(crate) fn any(&self, now: Instant) -> bool {
        self.0.lock().values().any(|doubt| doubt.lasts(now))
    }

    /// The engine does everything again.
    pub(crate) fn recovered(&self) {
        self.0.lock().retain(|_, doubt| !doubt.has_failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> SegmentName {
        SegmentName { number, ..crate::tests::segment(1, 1, 0) }
    }

    fn failed(trouble: Trouble) -> Result<(), EngineError> {
        Err(EngineError { engine: "a".to_owned(), verb: "delete", trouble, source: "no".into() })
    }

    #[test]
    fn what_was_not_said_to_be_deleted_is_in_doubt_for_a_while() {
        let (unsure, now) = (Unsure::default(), Instant::now());
        for number in 0..4 {
            assert!(unsure.begin(name(number), now));
        }
        unsure.ended(name(0), &Ok(()));
        unsure.ended(name(1), &failed(Trouble::Slow));
        unsure.ended(name(2), &failed(Trouble::Failed));
        let doubted = |now| [0, 1, 2, 3].map(|number| unsure.has(name(number), now));
        assert_eq!(doubted(now), [false, true, true, true]);
        unsure.recovered();
        assert_eq!(doubted(now), [false, true, false, true], "it may do the others still");
        assert!(unsure.any(now));
        let later = now + UNSURE_FOR;
        assert_eq!((doubted(later), unsure.any(later)), ([false; 4], false));
    }

    #[test]
    fn doubts_are_bounded() {
        let (unsure, now) = (Unsure::default(), Instant::now());
        let begun = (0..2_000).filter(|number| unsure.begin(name(*number), now)).count();
        assert_eq!(begun, UNSURE_MAX);
        assert!(unsure.begin(name(5_000), now + UNSURE_FOR), "those of long ago make place");
    }
}
