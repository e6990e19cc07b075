//! The run bar of a job: waited, placed, ran, try by try, and its end.

use protocol::Lane;
use protocol::job::{Job, JobState};
use sycamore::prelude::*;

use super::run_bar::{TICK, percent};
use crate::format;

/// What a job did for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// It waited for its time, or for a node with room.
    Waited,
    /// A node was asked.
    Placed,
    /// A node ran it.
    Ran,
    /// A node ran it, and that came to nothing.
    Failed,
    /// A node ran it until it was cancelled.
    Cancelled,
}

impl Part {
    /// In the order in which they are told.
    pub(crate) const ALL: [Self; 5] = [Self::Waited, Self::Placed, Self::Ran, Self::Failed, Self::Cancelled];

    /// As people say it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Waited => "waited",
            Self::Placed => "placed",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Cancelled => "ran until cancelled",
        }
    }

    fn class(self, lane: Option<Lane>) -> &'static str {
        match (self, lane) {
            (Self::Waited, _) => "bar-waited",
            (Self::Placed, _) => "bar-placed",
            (Self::Ran, None) => "bar-ran",
            (Self::Ran, Some(Lane::Wasm)) => "bar-wasm",
            (Self::Ran, Some(Lane::Vm)) => "bar-vm",
            (Self::Failed, _) => "bar-bad",
            (Self::Cancelled, _) => "bar-cancelled",
        }
    }
}

/// A while of a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// What it did.
    pub(crate) part: Part,
    /// For so long.
    pub(crate) us: u64,
}

/// The life of a job until now: by its steps, or as far as a list tells it.
pub(crate) fn life(job: &Job, now_ms: i64) -> Vec<Span> {
    if job.transitions.is_empty() { told(job, now_ms) } else { stepped(job, now_ms) }
}

/// From one time to another, in microseconds; nothing where the second is before the first.
fn between(from_ms: i64, to_ms: i64) -> u64 {
    u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0).saturating_mul(1_000)
}

/// How long a step lasted. What the node measured counts more than when the platform heard of it.
pub(crate) fn step_us(job: &Job, place: usize, now_ms: i64) -> u64 {
    let at = |place: usize| job.transitions.get(place).map_or(now_ms, |step| step.at.0);
    let heard = |place: usize| between(at(place), at(place + 1));
    let state = job.transitions.get(place).map(|step| step.state);
    // The last try: running, then the end.
    let running = job.transitions.len().saturating_sub(2);
    let ran = job.transitions.get(running).is_some_and(|step| step.state == JobState::Running);
    let measured = job.usage.filter(|_| ran && job.state.ended()).map(|usage| usage.wall_us);
    match (state, measured) {
        (Some(JobState::Running), Some(measured)) if place == running => heard(place).max(measured),
        (Some(JobState::Placed), Some(measured)) if place + 1 == running => {
            heard(place).saturating_sub(measured.saturating_sub(heard(running)))
        }
        _ => heard(place),
    }
}

fn stepped(job: &Job, now_ms: i64) -> Vec<Span> {
    let steps = job.transitions.iter().enumerate();
    let spans = steps.filter_map(|(place, step)| {
        let next = job.transitions.get(place + 1);
        let part = match (step.state, next.map(|next| next.state)) {
            (JobState::Queued, _) => Part::Waited,
            (JobState::Placed, _) => Part::Placed,
            (JobState::Running, None | Some(JobState::Succeeded)) => Part::Ran,
            (JobState::Running, Some(JobState::Cancelled)) => Part::Cancelled,
            (JobState::Running, Some(_)) => Part::Failed,
            // From an end to another try nothing happens.
            _ => return None,
        };
        Some(Span { part, us: step_us(job, place, now_ms) })
    });
    spans.collect()
}

fn told(job: &Job, now_ms: i64) -> Vec<Span> {
    let end_ms = job.ended.map_or(now_ms, |at| at.0);
    let started_ms = job.started.filter(|_| job.state != JobState::Queued).map_or(end_ms, |at| at.0.min(end_ms));
    let mut spans = vec![Span { part: Part::Waited, us: between(job.created.0, started_ms) }];
    let tried_us = between(started_ms, end_ms);
    let ran_us = match (job.state, job.usage) {
        (JobState::Placed, _) => 0,
        (JobState::Running, _) => tried_us,
        (_, usage) => usage.map_or(0, |usage| usage.wall_us.min(tried_us)),
    };
    if tried_us > 0 {
        spans.push(Span { part: Part::Placed, us: tried_us - ran_us });
        let part = match job.state {
            JobState::Running | JobState::Succeeded => Part::Ran,
            JobState::Cancelled => Part::Cancelled,
            _ => Part::Failed,
        };
        spans.push(Span { part, us: ran_us });
    }
    spans
}

/// How long it did this in all.
pub(crate) fn sum_us(spans: &[Span], parts: &[Part]) -> u64 {
    spans.iter().filter(|span| parts.contains(&span.part)).map(|span| span.us).sum()
}

/// Widths in thousandths: each part can be seen, and all fit.
fn widths(spans: &[Span]) -> Vec<u64> {
    let count = u64::try_from(spans.len()).unwrap_or(u64::MAX).max(1);
    let least = (400 / count).min(12);
    let room = 1_000 - TICK - least * count;
    let all = spans.iter().map(|span| span.us).sum::<u64>().max(1);
    spans.iter().map(|span| least + span.us.saturating_mul(room) / all).collect()
}

/// `waited 1.20 s · placed 3 ms · ran 4.00 s`
fn words(spans: &[Span], state: JobState) -> String {
    let there = Part::ALL.into_iter().filter(|part| spans.iter().any(|span| span.part == *part));
    let told = there.map(|part| format!("{} {}", part.word(), format::micros(sum_us(spans, &[part]))));
    let state = state_words(state);
    told.chain([state.to_owned()]).collect::<Vec<_>>().join(" · ")
}

/// A state, as people read it.
pub(crate) fn state_words(state: JobState) -> &'static str {
    match state {
        JobState::TimedOut => "timed out",
        state => state.as_str(),
    }
}

/// The bar.
pub(crate) fn job_bar(spans: &[Span], state: JobState, lane: Option<Lane>) -> View {
    let title = words(spans, state);
    let label = title.clone();
    let mut x = 0;
    let parts: Vec<View> = widths(spans)
        .into_iter()
        .zip(spans)
        .map(|(width, span)| {
            let (left, wide, class) = (percent(x), percent(width), span.part.class(lane));
            x += width;
            let (y, height) = if span.part >= Part::Ran { ("2", "12") } else { ("4", "8") };
            view! { rect(class=class, x=left, y=y, width=wide, height=height) {} }
        })
        .collect();
    let end_class = match state {
        JobState::Succeeded => "bar-settled",
        JobState::Failed | JobState::TimedOut | JobState::Dead => "bar-bad",
        JobState::Cancelled => "bar-cancelled",
        _ => "bar-open",
    };
    let end = percent(x + 8);
    view! {
        svg(class="run-bar", "role"="img", aria-label=label) {
            svg_title { (title) }
            rect(class="bar-track", x="0", y="7", width="100%", height="2") {}
            (parts)
            rect(class=end_class, x=end, y="4", width="3", height="8") {}
        }
    }
}

/// What the colours mean, once on a page. `lane`: of the job, where there is but one.
pub(crate) fn job_legend(lane: Option<Lane>) -> View {
    let ran = match lane {
        None => view! { span(class="key-ran") { "ran" } },
        Some(Lane::Wasm) => view! { span(class="key-wasm") { "ran, wasm" } },
        Some(Lane::Vm) => view! { span(class="key-vm") { "ran, vm" } },
    };
    view! {
        p(class="legend", aria-hidden="true") {
            span(class="key-waited") { "waited" }
            span { "placed" }
            (ran)
            span(class="key-bad") { "failed" }
            span(class="key-cancelled") { "cancelled" }
            span(class="key-settled") { "done" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Span, TICK, life, sum_us, widths, words};
    use crate::pages::jobs::sample::{job, step};
    use protocol::job::{Job, JobState};
    use protocol::{Timestamp, receipt::Usage};

    fn used(wall_us: u64) -> Usage {
        Usage { wall_us, ..Usage::default() }
    }

    fn parts(spans: &[Span]) -> Vec<(Part, u64)> {
        spans.iter().map(|span| (span.part, span.us)).collect()
    }

    #[test]
    fn steps_are_a_life() {
        let mut job = Job { state: JobState::Running, ..job(1) };
        job.transitions = vec![
            step(1_000, JobState::Queued, None),
            step(1_200, JobState::Placed, Some(1)),
            step(1_210, JobState::Running, Some(1)),
            step(2_000, JobState::Queued, Some(1)),
            step(3_000, JobState::Placed, Some(2)),
            step(3_010, JobState::Running, Some(2)),
        ];
        let spans = life(&job, 4_010);
        let (waited, placed) = (Part::Waited, Part::Placed);
        let expected = [
            (waited, 200_000),
            (placed, 10_000),
            (Part::Failed, 790_000),
            (waited, 1_000_000),
            (placed, 10_000),
            (Part::Ran, 1_000_000),
        ];
        assert_eq!(parts(&spans), expected);
        assert_eq!(sum_us(&spans, &[waited]), 1_200_000);
        assert_eq!(words(&spans, job.state), "waited 1.20 s · placed 20.0 ms · ran 1.00 s · failed 790 ms · running");
        job.state = JobState::Succeeded;
        job.transitions.push(step(3_500, JobState::Succeeded, Some(2)));
        assert_eq!(life(&job, 9_999).last(), Some(&Span { part: Part::Ran, us: 490_000 }), "what ended does not grow");
    }

    #[test]
    fn what_the_node_measured_counts() {
        let mut job = Job { state: JobState::Succeeded, usage: Some(used(4_000)), ..job(1) };
        job.transitions = vec![
            step(1_000, JobState::Queued, None),
            step(1_020, JobState::Placed, Some(1)),
            step(1_043, JobState::Running, Some(1)),
            step(1_043, JobState::Succeeded, Some(1)),
        ];
        let told = [(Part::Waited, 20_000), (Part::Placed, 19_000), (Part::Ran, 4_000)];
        assert_eq!(parts(&life(&job, 9_999)), told);
    }

    #[test]
    fn a_list_tells_less() {
        let queued = job(1);
        assert_eq!(parts(&life(&queued, 1_500)), [(Part::Waited, 500_000)]);
        let ended = Job {
            state: JobState::TimedOut,
            started: Some(Timestamp(1_300)),
            ended: Some(Timestamp(1_400)),
            usage: Some(used(90_000)),
            ..job(1)
        };
        let told = [(Part::Waited, 300_000), (Part::Placed, 10_000), (Part::Failed, 90_000)];
        assert_eq!(parts(&life(&ended, 9_999)), told);
        let behind = Job { state: JobState::Running, started: Some(Timestamp(1_300)), ..job(1) };
        assert_eq!(sum_us(&life(&behind, 0), &[Part::Ran]), 0, "the browser's clock may be behind");
    }

    #[test]
    fn parts_fit_and_can_be_seen() {
        for lengths in [vec![], vec![0], vec![0, 5, 1_000_000], vec![u64::MAX / 2_000, 1], vec![7; 99]] {
            let spans: Vec<Span> = lengths.iter().map(|us| Span { part: Part::Ran, us: *us }).collect();
            let widths = widths(&spans);
            assert!(widths.iter().sum::<u64>() + TICK <= 1_000, "{widths:?}");
            assert!(widths.iter().all(|width| *width > 0), "{widths:?}");
        }
    }
}
