//! Ten thousand short jobs: how fast they go through, beside calls of the same function; and that none is lost and none
//! done twice when processes die.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use protocol::job::{Job, JobInput, JobState, SubmitArray, SubmitJob};
use rustix::process::{Pid, Signal, kill_process};

use super::client::{Jobs, seconds};
use crate::checks::Check;
use crate::figures::Figure;
use crate::platform::{FUNCTION, Parts, Platform};
use crate::{load, say};

const ARRAY: usize = 1000;
const ALL_WITHIN: Duration = Duration::from_secs(900);
/// Who dies, one after the other.
const VICTIMS: [&str; 6] = ["executor-1", "control-plane", "nats-server", "gateway-1", "control-plane-2", "executor-2"];
const FLAGS: [&str; 5] = ["--separate", "--executors", "3", "--control-planes", "2"];
const CALLS: usize = 16;
/// Nothing may stand still for longer.
const PAUSE_MAX: f64 = 10.0;

pub(super) async fn run(parts: &Parts, count: usize) -> anyhow::Result<(Vec<Figure>, Vec<Check>)> {
    let folder = tempfile::tempdir()?;
    let platform = Platform::start_with(parts, folder.path(), &FLAGS).await?;
    let target = platform.deploy()?;
    let jobs = Jobs::of(&platform)?;
    let calls = load::http(target, CALLS, Duration::from_secs(3), |answer| {
        ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(())
    });
    let calls = calls.await?;

    let quiet = crowd(&jobs, count, None).await?;
    let deaths = crowd(&jobs, count, Some(&platform)).await?;
    let wanted = (2 * count) as u64 + calls.successes;
    let key = jobs.at("/").key.unwrap_or_default();
    let settled = platform.settled(&key, wanted).await?.succeeded;
    platform.stop().await?;

    let figure = |name: &str, figure, value| Figure::new(name, figure, None, vec![value]);
    let per_second = figure("jobs", "throughput_per_second", quiet.per_second);
    let called = figure("calls, 16 connections", "throughput_per_second", calls.throughput_per_second);
    let figures = vec![
        per_second.over(&called, "throughput_ratio"),
        figure("jobs", "accepted_per_second", quiet.accepted_per_second),
        figure("jobs, six processes killed", "throughput_per_second", deaths.per_second),
        figure("jobs, six processes killed", "longest_pause_seconds", deaths.longest_pause),
        figure("jobs, six processes killed", "tried_again", deaths.lost_tries),
        per_second,
        called,
    ];
    let checks = vec![
        Check::new("every job succeeded, and ended once", quiet.good && deaths.good, format!("2 x {count}")),
        Check::new("every job and call has one bill", settled == wanted, format!("{settled} settled of {wanted}")),
        Check::new(
            "no pause of more than 10 s after a death",
            deaths.longest_pause <= PAUSE_MAX,
            format!("{:.1} s", deaths.longest_pause),
        ),
    ];
    Ok((figures, checks))
}

/// What became of a crowd.
struct Crowd {
    accepted_per_second: f64,
    per_second: f64,
    longest_pause: f64,
    lost_tries: f64,
    good: bool,
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn crowd(jobs: &Jobs<'_>, count: usize, deadly: Option<&Platform>) -> anyhow::Result<Crowd> {
    let began = Instant::now();
    let mut arrays = Vec::new();
    for first in (0..count).step_by(ARRAY) {
        let inputs = (first..count.min(first + ARRAY)).map(|number| JobInput::Text(number.to_string())).collect();
        arrays.push(jobs.submit_array(&SubmitArray { job: SubmitJob::of(FUNCTION), inputs }).await?);
    }
    let accepted_per_second = count as f64 / began.elapsed().as_secs_f64();
    if let Some(platform) = deadly {
        for victim in VICTIMS {
            tokio::time::sleep(Duration::from_secs(3)).await;
            kill(platform, victim)?;
        }
    }
    while jobs.open().await? {
        ensure!(began.elapsed() < ALL_WITHIN, "jobs are still open after {ALL_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut all: Vec<Job> = Vec::with_capacity(count);
    for array in &arrays {
        all.extend(jobs.all(&format!("array={}", array.id)).await?);
    }
    let succeeded = all.iter().filter(|job| job.state == JobState::Succeeded).count();
    // Each hundredth tells all of its life.
    let mut once = true;
    for job in all.iter().step_by(100) {
        let whole = jobs.show(job.id).await?;
        once &= whole.transitions.iter().filter(|step| step.state.ended()).count() == 1;
    }
    let first = all.iter().map(|job| job.created).min().context("no jobs")?;
    let mut ends: Vec<_> = all.iter().filter_map(|job| job.ended).collect();
    ends.sort_unstable();
    let last = *ends.last().context("no job has ended")?;
    let pauses = ends.windows(2).map(|pair| seconds(pair[0], pair[1]));
    Ok(Crowd {
        accepted_per_second,
        per_second: all.len() as f64 / seconds(first, last).max(1e-3),
        longest_pause: pauses.fold(0.0, f64::max),
        lost_tries: all.iter().map(|job| f64::from(job.losses)).sum(),
        good: all.len() == count && succeeded == count && once,
    })
}

fn kill(platform: &Platform, victim: &str) -> anyhow::Result<()> {
    let pid = platform.pids()?.get(victim).copied().with_context(|| format!("there is no {victim}"))?;
    say(&format!("killing {victim}"));
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process without an id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}
