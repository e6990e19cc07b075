//! What earlier jobs of a function tell of the next one.

use protocol::job::Job;

use crate::format;

/// The middle of what earlier jobs took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Typical {
    /// Jobs that were looked at.
    pub(crate) jobs: usize,
    /// From submission to the last try's beginning, in microseconds.
    pub(crate) wait_us: u64,
    /// The last try on its node, in microseconds.
    pub(crate) run_us: u64,
}

/// Of those that have ended and ran. One that had to wait for its time, or for a retry, tells nothing of waiting.
pub(crate) fn typical(jobs: &[Job]) -> Option<Typical> {
    let ran = || jobs.iter().filter(|job| job.state.ended()).filter_map(|job| Some((job, job.started?, job.usage?)));
    let run_us = median(ran().map(|(_, _, usage)| usage.wall_us).collect())?;
    let prompt = ran().filter(|(job, ..)| job.not_before.is_none() && job.attempts <= 1 && job.losses == 0);
    let waits = prompt.map(|(job, started, _)| started.since(job.created).as_micros());
    let wait_us = median(waits.map(|us| u64::try_from(us).unwrap_or(u64::MAX)).collect()).unwrap_or(0);
    Some(Typical { jobs: ran().count(), wait_us, run_us })
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

impl Typical {
    /// `By its last 12 jobs: waits 3 ms, runs 1.20 s.`
    pub(crate) fn words(self) -> String {
        let (wait, run) = (format::micros(self.wait_us), format::micros(self.run_us));
        format!("By its last {}: waits {wait}, runs {run} (medians).", format::count(self.jobs, "job"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Typical, typical};
    use crate::pages::jobs::sample;
    use protocol::Timestamp;
    use protocol::job::{Job, JobState};
    use protocol::receipt::Usage;

    fn ran(number: u128, waited_ms: i64, wall_us: u64) -> Job {
        Job {
            state: JobState::Succeeded,
            started: Some(Timestamp(1_000 + waited_ms)),
            ended: Some(Timestamp(9_000)),
            usage: Some(Usage { wall_us, ..Usage::default() }),
            attempts: 1,
            ..sample::job(number)
        }
    }

    #[test]
    fn the_middle_counts() {
        let jobs = [ran(1, 2, 10), ran(2, 900, 5_000_000), ran(3, 4, 30), sample::job(4)];
        let typical = typical(&jobs).unwrap();
        assert_eq!(typical, Typical { jobs: 3, wait_us: 4_000, run_us: 30 });
        assert_eq!(typical.words(), "By its last 3 jobs: waits 4.0 ms, runs 30 µs (medians).");
    }

    #[test]
    fn what_had_to_wait_tells_nothing_of_waiting() {
        let late = Job { not_before: Some(Timestamp(5_000)), ..ran(1, 60_000, 10) };
        let again = Job { attempts: 2, ..ran(2, 70_000, 10) };
        assert_eq!(typical(&[late, again, ran(3, 5, 10)]).unwrap().wait_us, 5_000);
        assert_eq!(typical(&[sample::job(1)]), None);
        assert_eq!(typical(&[]), None);
    }
}
