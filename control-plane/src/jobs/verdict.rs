//! What the end of a try means for its job. Pure.

use std::time::Duration;

use placing::{Fate, NotTaken, Verdict};
use protocol::Code;
use protocol::job::JobState;
use protocol::receipt::Outcome;
use protocol::words;

/// The pause after a node had no room: short, as another may have.
const TURN_PAUSE_MIN: Duration = Duration::from_millis(50);
const TURN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The pause after a loss.
const LOSS_PAUSE_MIN: Duration = Duration::from_millis(200);
const LOSS_PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest pause between retries, however long the first one was.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(6 * 3600);

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// No node has begun it.
    NotTaken(String),
    /// The platform lost it, perhaps half done.
    Lost(Code, String),
    /// The function succeeded or failed, or took too long.
    Done { outcome: Outcome, status: Option<u16>, code: Option<Code>, why: String },
    /// Somebody has cancelled it, before a node had begun it or after.
    Cancelled { begun: bool },
}

impl Came {
    /// What has become of its run, whose response had this status.
    pub(super) fn of(verdict: Verdict, status: u16) -> Self {
        let Verdict { fate, code, detail: why, .. } = verdict;
        let done = |outcome, status, code, why| Self::Done { outcome, status, code, why };
        match fate {
            Fate::Answered => done(Outcome::Succeeded, Some(status), None, why),
            Fate::Failed => done(Outcome::Failed, None, code, why),
            Fate::TimedOut => done(Outcome::TimedOut, None, code, why),
            Fate::NotTaken(NotTaken::ShareExceeded) => Self::NotTaken(format!("{}: {why}", Code::ShareExceeded)),
            Fate::NotTaken(_) => Self::NotTaken(why),
            Fate::Lost => Self::Lost(code.unwrap_or(Code::NodeFailed), why),
            Fate::Cancelled => Self::Cancelled { begun: false },
        }
    }
}

/// What a job has had so far, and what it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tries that the function had.
    pub(super) attempts: u32,
    /// Tries that the platform lost.
    pub(super) losses: u32,
    /// Nodes that had no room, since one had.
    pub(super) turns: u32,
    pub(super) retries: u32,
    pub(super) losses_max: u32,
    pub(super) backoff: Duration,
}

/// What becomes of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits again, at least so long.
    Again(Duration, String),
    End(JobState, String),
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(max)
}

/// Counts the try, and says what comes next.
pub(super) fn next(counts: &mut Counts, came: &Came) -> Next {
    match came {
        Came::Cancelled { begun } => {
            counts.attempts = counts.attempts.saturating_add(u32::from(*begun));
            Next::End(JobState::Cancelled, "cancelled".to_owned())
        }
        Came::NotTaken(why) => {
            let pause = doubled(TURN_PAUSE_MIN, counts.turns, TURN_PAUSE_MAX);
            counts.turns = counts.turns.saturating_add(1);
            Next::Again(pause, format!("not taken: {why}"))
        }
        // Its owner has the machine back: nothing went wrong, and the job may meet that as often as it likes.
        Came::Lost(Code::NodePaused, why) => {
            let pause = doubled(TURN_PAUSE_MIN, counts.turns, TURN_PAUSE_MAX);
            counts.turns = counts.turns.saturating_add(1);
            Next::Again(pause, format!("given back: {why}"))
        }
        Came::Lost(code, why) => {
            let pause = doubled(LOSS_PAUSE_MIN, counts.losses, LOSS_PAUSE_MAX);
            counts.losses = counts.losses.saturating_add(1);
            counts.turns = 0;
            match counts.losses > counts.losses_max {
                true => {
                    let times = words::count(counts.losses, "time");
                    Next::End(JobState::Dead, format!("lost {times}, at last: {code}: {why}"))
                }
                false => Next::Again(pause, format!("lost ({code}): {why}")),
            }
        }
        Came::Done { outcome, status, code, why } => {
            counts.attempts = counts.attempts.saturating_add(1);
            counts.turns = 0;
            done(counts, *outcome, *status, *code, why)
        }
    }
}

fn done(counts: &Counts, outcome: Outcome, status: Option<u16>, code: Option<Code>, why: &str) -> Next {
    let (state, what) = match (outcome, status) {
        (Outcome::Succeeded, Some(status)) if status < 500 => {
            return Next::End(JobState::Succeeded, format!("answered {status}"));
        }
        (Outcome::Succeeded, Some(status)) => (JobState::Failed, format!("answered {status}")),
        (Outcome::TimedOut, _) => (JobState::TimedOut, "its time was over".to_owned()),
        _ => (JobState::Failed, code.map_or_else(|| "failed".to_owned(), |code| code.to_string())),
    };
    let what = if why.is_empty() { what } else { format!("{what}: {why}") };
    if counts.attempts <= counts.retries {
        let pause = doubled(counts.backoff, counts.attempts - 1, RETRY_PAUSE_MAX);
        return Next::Again(pause, format!("{what}; retry {} of {}", counts.attempts, counts.retries));
    }
    match counts.retries {
        0 => Next::End(state, what),
        retries => Next::End(JobState::Dead, format!("{what}; given up after {}", words::count(retries, "retry"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(retries: u32) -> Counts {
        Counts { attempts: 0, losses: 0, turns: 0, retries, losses_max: 3, backoff: Duration::from_secs(1) }
    }

    fn answered(status: u16) -> Came {
        Came::Done { outcome: Outcome::Succeeded, status: Some(status), code: None, why: String::new() }
    }

    fn trapped() -> Came {
        Came::Done { outcome: Outcome::Failed, status: None, code: Some(Code::Trap), why: String::new() }
    }

    #[test]
    fn each_verdict_is_a_step_of_a_job() {
        assert_eq!(Came::of(Verdict::ANSWERED, 404), answered(404));
        assert_eq!(Came::of(Verdict::failed(Code::Trap, ""), 200), trapped());
        let lost = Verdict::lost(Code::NodeLost, "gone");
        assert_eq!(Came::of(lost, 0), Came::Lost(Code::NodeLost, "gone".to_owned()));
        assert_eq!(Came::of(Verdict::CANCELLED, 200), Came::Cancelled { begun: false });
        let late = Came::of(Verdict::of_code(Code::TimedOut), 0);
        assert!(matches!(late, Came::Done { outcome: Outcome::TimedOut, code: Some(Code::TimedOut), .. }));
        let busy = |why: &str| Came::of(Verdict::of_error(&fabric::CallError::Busy(why.to_owned())), 0);
        assert_eq!(busy("no slot"), Came::NotTaken("the peer is busy: no slot".to_owned()));
        assert_eq!(busy("share_exceeded: of slots"), Came::NotTaken("share_exceeded: of slots".to_owned()));
    }

    #[test]
    fn an_answer_ends_it() {
        assert!(matches!(next(&mut counts(5), &answered(404)), Next::End(JobState::Succeeded, _)));
        assert!(matches!(next(&mut counts(0), &answered(500)), Next::End(JobState::Failed, _)));
        assert!(matches!(next(&mut counts(0), &trapped()), Next::End(JobState::Failed, _)));
    }

    #[test]
    fn a_cancelled_try_counts_where_it_had_begun() {
        for begun in [false, true] {
            let mut counts = counts(2);
            assert!(matches!(next(&mut counts, &Came::Cancelled { begun }), Next::End(JobState::Cancelled, _)));
            assert_eq!(counts.attempts, u32::from(begun));
        }
    }

    #[test]
    fn retries_pause_longer_each_time_and_then_it_is_dead() {
        let mut counts = counts(2);
        for pause in [1, 2] {
            match next(&mut counts, &trapped()) {
                Next::Again(found, _) => assert_eq!(found, Duration::from_secs(pause)),
                end @ Next::End(..) => panic!("{end:?}"),
            }
        }
        assert!(
            matches!(next(&mut counts, &trapped()), Next::End(JobState::Dead, why) if why.contains("given up after 2 retries"))
        );
    }

    #[test]
    fn what_a_paused_node_gives_back_costs_nothing() {
        let mut counts = counts(0);
        let given_back = Came::Lost(Code::NodePaused, "paused by its owner".to_owned());
        for _ in 0..50 {
            assert!(matches!(next(&mut counts, &given_back), Next::Again(..)));
        }
        assert_eq!((counts.attempts, counts.losses), (0, 0));
    }

    #[test]
    fn what_the_platform_lost_costs_no_retry() {
        let mut counts = counts(0);
        let lost = Came::Lost(Code::NodeLost, String::new());
        for _ in 0..3 {
            assert!(matches!(next(&mut counts, &lost), Next::Again(..)));
            assert!(matches!(next(&mut counts, &Came::NotTaken(String::new())), Next::Again(..)));
        }
        assert!(matches!(next(&mut counts, &lost), Next::End(JobState::Dead, _)));
        assert_eq!(counts.attempts, 0);
    }

    proptest! {
        #[test]
        fn every_job_ends(retries in 0_u32..20, ends in prop::collection::vec(0_u8..4, 200)) {
            let mut counts = counts(retries);
            let ended = ends.iter().filter(|end| **end > 0).any(|end| {
                let came = match end {
                    1 => Came::Lost(Code::NodeLost, String::new()),
                    2 => trapped(),
                    _ => answered(503),
                };
                matches!(next(&mut counts, &came), Next::End(..))
            });
            prop_assert!(ended);
        }
    }
}
