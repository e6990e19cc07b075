//! Key metrics: the figures of the whole period, each with how it moved and the runs that it sums.

use protocol::api::UsageSums;
use sycamore::prelude::*;

use super::columns::{add, spans, whole};
use super::data::{Subject, Told};
use crate::format::{self, wide};
use crate::state;
use crate::ui::tile::{Delta, More, Tile, tile};

/// What made the runs that are requests, and those that are jobs.
const REQUESTS: [&str; 2] = ["call", "test"];
const JOBS: [&str; 3] = ["job", "schedule", "queue"];

/// The tiles.
pub(super) fn metrics(subject: &Subject) -> View {
    let by_source = subject.usage(|asked| format!("{},source", asked.period.by()), |asked| asked.period.span());
    let before = subject.compared(|_| "source".to_owned(), |asked| asked.period.before());
    let moved = subject.moved;
    let subject = subject.clone();
    let tiles = View::from_dynamic(move || {
        let told = by_source.ready();
        let before = before.ready().flatten();
        let all: Vec<View> =
            figures(&subject, told.as_ref(), moved.ready().as_ref(), before.as_ref()).into_iter().map(tile).collect();
        view! { div(class="tiles many", id="metrics") { (all) } }
    });
    view! { section(aria-label="Key metrics") { (tiles) } }
}

/// The sums of what was made so.
fn made(told: &Told, sources: &[&str]) -> UsageSums {
    let mut sums = UsageSums::default();
    let of = told.report.items.iter().filter(|group| sources.contains(&group.key.as_str()));
    of.for_each(|group| add(&mut sums, &group.usage));
    sums
}

/// A figure in each column, of all runs or of those that were made so.
fn moves(told: &Told, sources: &[&str], figure: fn(&UsageSums) -> f64) -> Vec<f64> {
    let spans = spans(told.span, told.asked.period.column_ms());
    let sums = whole(&told.report.items, &spans, |group| sources.is_empty() || sources.contains(&group.key.as_str()));
    sums.iter().map(figure).collect()
}

/// Runs that count for the failure rate: but for those that were cancelled.
pub(super) fn counted(sums: &UsageSums) -> u64 {
    sums.runs.saturating_sub(sums.cancelled)
}

/// Of them, those that the function failed.
pub(super) fn failed(sums: &UsageSums) -> u64 {
    sums.failed.saturating_add(sums.timed_out)
}

fn rate(sums: &UsageSums) -> f64 {
    wide(failed(sums)) * 100.0 / wide(counted(sums).max(1))
}

/// All of them; each is there before its figure has come.
fn figures(subject: &Subject, told: Option<&Told>, moved: Option<&Told>, before: Option<&Told>) -> Vec<Tile> {
    let total = told.map(|told| told.report.total).unwrap_or_default();
    let then = before.map(|before| before.report.total);
    let against = || format!("compared with the same time before {}", subject.period().words());
    let delta = |figure: fn(&UsageSums) -> f64, now: &UsageSums, then: Option<&UsageSums>, more| {
        Delta::of(figure(now), figure(then?), more, against())
    };
    let path = |more: &[(&str, &str)]| {
        let rows = told.map(|told| told.asked.runs(&subject.here, told.span, more));
        rows.unwrap_or_else(|| state::href(&[]))
    };
    let new = |title, figure: String, href: String| Tile {
        title,
        figure: if told.is_some() { figure } else { "–".to_owned() },
        note: String::new(),
        delta: None,
        moved: Vec::new(),
        parts: Vec::new(),
        href,
    };
    let by_source = |sources, figure| told.map(|told| moves(told, sources, figure)).unwrap_or_default();
    let over_time = |figure| moved.map(|told| moves(told, &[], figure)).unwrap_or_default();
    let of = |told: Option<&Told>, sources| told.map(|told| made(told, sources));
    let runs: fn(&UsageSums) -> f64 = |sums| wide(sums.runs);
    let counts = |title, sources: &'static [&'static str]| {
        let now = of(told, sources).unwrap_or_default();
        Tile {
            delta: delta(runs, &now, of(before, sources).as_ref(), More::IsNeutral),
            moved: by_source(sources, runs),
            ..new(title, format::compact(now.runs), path(&[("source", sources.join(",").as_str())]))
        }
    };
    let quantile = |title, figure: fn(&UsageSums) -> f64| {
        let known = total.latency.is_some();
        let text = if known { format::micros(told.map_or(0, |_| micros(figure(&total)))) } else { "–".to_owned() };
        Tile {
            delta: delta(figure, &total, then.as_ref(), More::IsBad),
            moved: over_time(figure),
            ..new(title, text, path(&[]))
        }
    };
    let sum = |title, text: String, figure: fn(&UsageSums) -> f64| Tile {
        delta: delta(figure, &total, then.as_ref(), More::IsNeutral),
        moved: over_time(figure),
        ..new(title, text, path(&[]))
    };
    vec![
        counts("Requests", &REQUESTS),
        counts("Jobs, by tries", &JOBS),
        Tile {
            note: format!("of {} runs", format::thousands(counted(&total))),
            delta: then.map(|then| Delta::points(rate(&total), rate(&then), against())),
            moved: over_time(rate),
            ..new(
                "Failure rate",
                format::percent(failed(&total), counted(&total)),
                path(&[("outcome", "failed,timed_out")]),
            )
        },
        quantile("p50", |sums| sums.latency.map_or(0.0, |latency| wide(latency.p50_us))),
        quantile("p95", |sums| sums.latency.map_or(0.0, |latency| wide(latency.p95_us))),
        sum("CPU", format::cpu_hours(total.cpu_us), |sums| wide(sums.cpu_us)),
        sum("Memory", format::memory_hours(total.memory_kib_ms), |sums| wide(sums.memory_kib_ms)),
        Tile {
            note: format!("{} in", format::bytes(total.bytes_in.0)),
            ..sum("Bytes out", format::bytes(total.bytes_out.0), |sums| wide(sums.bytes_out.0))
        },
    ]
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float stops at the ends")]
fn micros(us: f64) -> u64 {
    us as u64
}

#[cfg(test)]
mod tests {
    use protocol::api::UsageSums;

    use super::{counted, failed, rate};

    #[test]
    fn cancelled_runs_count_neither_as_failed_nor_as_not() {
        let sums =
            UsageSums { runs: 12, failed: 1, timed_out: 2, cancelled: 2, platform_failed: 1, ..UsageSums::default() };
        assert_eq!((failed(&sums), counted(&sums)), (3, 10));
        assert!((rate(&sums) - 30.0).abs() < 1e-9);
        assert!(rate(&UsageSums::default()).abs() < 1e-9);
    }
}
