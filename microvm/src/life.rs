//! A machine's life.
//!
//! ```text
//!            +--> booting --hello--> waiting ----> saving --> saved
//!            |                          | adopt: not saved, but used itself
//! spawned ---|                                      +--> saving --> saved
//!            |                                      |
//!            +--> loading --state--> paused --------+--cont--> running --> over
//!                                    |    ^
//!                                    rehearsing
//!
//! any of them --killed, died, deadline--> over
//! ```
//!
//! The upper way makes a template, the lower way runs a workload, or makes a template out of another. No arrow leads back
//! from running: a machine runs one workload, and none that ran one is saved. A rehearsal runs nobody's code but the
//! agent's.

/// Where a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Spawned,
    Booting,
    Waiting,
    Saving,
    Saved,
    Loading,
    Paused,
    Rehearsing,
    Running,
    Over,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Boot,
    Hello,
    Save,
    StateWritten,
    Adopt,
    Load,
    StateRead,
    Rehearse,
    Rehearsed,
    Continue,
    End,
}

impl Life {
    /// Where a step leads; none where it makes no sense.
    pub(crate) fn after(self, step: Step) -> Option<Self> {
        Some(match (self, step) {
            (Self::Spawned, Step::Boot) => Self::Booting,
            (Self::Booting, Step::Hello) => Self::Waiting,
            (Self::Waiting | Self::Paused, Step::Save) => Self::Saving,
            (Self::Saving, Step::StateWritten) => Self::Saved,
            (Self::Waiting, Step::Adopt) => Self::Paused,
            (Self::Spawned, Step::Load) => Self::Loading,
            (Self::Loading, Step::StateRead) => Self::Paused,
            (Self::Paused, Step::Rehearse) => Self::Rehearsing,
            (Self::Rehearsing, Step::Rehearsed) => Self::Paused,
            (Self::Paused, Step::Continue) => Self::Running,
            (_, Step::End) => Self::Over,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, Step};

    const STEPS: [Step; 11] = [
        Step::Boot,
        Step::Hello,
        Step::Save,
        Step::StateWritten,
        Step::Adopt,
        Step::Load,
        Step::StateRead,
        Step::Rehearse,
        Step::Rehearsed,
        Step::Continue,
        Step::End,
    ];

    fn walk(steps: &[Step]) -> Option<Life> {
        steps.iter().try_fold(Life::Spawned, |life, step| life.after(*step))
    }

    #[test]
    fn both_ways_are_as_drawn() {
        assert_eq!(walk(&[Step::Boot, Step::Hello, Step::Save, Step::StateWritten]), Some(Life::Saved));
        assert_eq!(walk(&[Step::Load, Step::StateRead, Step::Continue, Step::End]), Some(Life::Over));
        let again = [Step::Load, Step::StateRead, Step::Rehearse, Step::Rehearsed, Step::Save, Step::StateWritten];
        assert_eq!(walk(&again), Some(Life::Saved));
    }

    #[test]
    fn nothing_runs_twice_and_nothing_leads_back() {
        assert_eq!(walk(&[Step::Load, Step::StateRead, Step::Continue, Step::Continue]), None);
        assert_eq!(walk(&[Step::Boot, Step::Hello, Step::Continue]), None);
        assert_eq!(walk(&[Step::Load, Step::StateRead, Step::Continue, Step::Save]), None);
        for step in STEPS {
            let after = Life::Over.after(step);
            assert_eq!(after, (step == Step::End).then_some(Life::Over));
        }
    }
}
