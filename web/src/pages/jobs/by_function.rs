//! Which functions' jobs fail, and which are slow: of the newest that have ended.

use std::collections::BTreeMap;

use protocol::Name;
use protocol::job::{Job, JobState};

use super::filter::WENT_WRONG;
use super::history::typical;

/// The jobs of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfFunction {
    /// Which.
    pub(crate) name: Name,
    /// Jobs that ended and were not cancelled.
    pub(crate) jobs: u64,
    /// Of them, those that failed, ran out of time, or died.
    pub(crate) wrong: u64,
    /// The median from submission to the last try's beginning, in microseconds.
    pub(crate) wait_us: Option<u64>,
    /// The median of the last try on its node, in microseconds.
    pub(crate) run_us: Option<u64>,
}

/// Those that fail most first, then the slowest.
pub(crate) fn by_function(jobs: &[Job]) -> Vec<OfFunction> {
    let mut groups: BTreeMap<&Name, Vec<Job>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.state.ended() && job.state != JobState::Cancelled) {
        groups.entry(&job.function).or_default().push(job.clone());
    }
    let of = |(name, jobs): (&Name, Vec<Job>)| {
        let count = |jobs: usize| u64::try_from(jobs).unwrap_or(u64::MAX);
        let typical = typical(&jobs);
        OfFunction {
            name: name.clone(),
            jobs: count(jobs.len()),
            wrong: count(jobs.iter().filter(|job| WENT_WRONG.contains(&job.state)).count()),
            wait_us: typical.map(|typical| typical.wait_us),
            run_us: typical.map(|typical| typical.run_us),
        }
    };
    let mut functions: Vec<OfFunction> = groups.into_iter().map(of).collect();
    // Shares are compared without dividing.
    let rate = |one: &OfFunction, other: &OfFunction| {
        (u128::from(one.wrong) * u128::from(other.jobs)).cmp(&(u128::from(other.wrong) * u128::from(one.jobs)))
    };
    functions.sort_by(|one, other| rate(other, one).then(other.run_us.cmp(&one.run_us)));
    functions
}

#[cfg(test)]
mod tests {
    use super::by_function;
    use crate::pages::jobs::sample;
    use protocol::Timestamp;
    use protocol::job::{Job, JobState};
    use protocol::receipt::Usage;

    fn job(function: &str, state: JobState, wall_us: u64) -> Job {
        Job {
            function: function.parse().unwrap(),
            state,
            started: Some(Timestamp(1_010)),
            usage: Some(Usage { wall_us, ..Usage::default() }),
            ..sample::job(1)
        }
    }

    #[test]
    fn failing_ones_come_first_then_slow_ones() {
        let jobs = [
            job("quick", JobState::Succeeded, 5),
            job("slow", JobState::Succeeded, 900),
            job("half", JobState::Succeeded, 1),
            job("half", JobState::Dead, 1),
            job("never", JobState::TimedOut, 1),
            job("quick", JobState::Cancelled, 1),
            job("open", JobState::Running, 1),
        ];
        let found = by_function(&jobs);
        let told: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.jobs, one.wrong)).collect();
        assert_eq!(told, [("never", 1, 1), ("half", 2, 1), ("slow", 1, 0), ("quick", 1, 0)]);
        assert_eq!((found[2].run_us, found[2].wait_us), (Some(900), Some(10_000)));
        assert!(by_function(&[]).is_empty());
    }
}
