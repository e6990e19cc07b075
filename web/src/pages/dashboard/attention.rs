//! What needs attention: at most three lines, and none where nothing does.

use protocol::Timestamp;
use protocol::api::{Key, UsageGroup};
use protocol::job::JobSummary;
use sycamore::prelude::*;

use super::figures::{counted, failed};
use super::{Data, Told};
use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::session::Here;
use crate::ui::icon;
use crate::ui::time::now_ms;

/// A function is told of when more than so many of a hundred runs fail,
const FAILING_PERCENT: u64 = 5;
/// of at least so many.
const FAILING_RUNS_MIN: u64 = 20;
/// A job waits long after so much.
const QUEUED_LONG_MS: i64 = 10 * 60_000;
/// A key's end is told so long before.
const EXPIRES_SOON_MS: i64 = 7 * 86_400_000;
const LINES_MAX: usize = 3;

/// One line, and where it leads.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    bad: bool,
    text: String,
    /// Below the account.
    path: String,
}

/// The lines.
pub(super) fn attention(here: &Here, data: Data) -> View {
    let account = here.account.clone();
    let keys = Resource::new(move || {
        let account = account.clone();
        async move { calls::keys(&account).await }
    });
    let here = here.clone();
    let lines = create_selector(move || {
        let functions = data.by_function.ready();
        let jobs = data.jobs.ready().map(|jobs| (jobs.now, jobs.span));
        let keys = keys.ready().map(|page| page.items).unwrap_or_default();
        let of_told = |told: Told| of_functions(&told.report.items, &told.span.query(), told.period.words());
        let mut lines = functions.map(of_told).unwrap_or_default();
        lines.extend(jobs.iter().flat_map(|(jobs, span)| of_jobs(jobs, span.from, now_ms())));
        lines.extend(of_keys(&keys, now_ms()));
        lines.truncate(LINES_MAX);
        lines
    });
    View::from_dynamic(move || {
        let lines = lines.get_clone();
        if lines.is_empty() {
            return view! {};
        }
        let lines: Vec<View> = lines
            .into_iter()
            .map(|Line { bad, text, path }| {
                let class = if bad { "bad" } else { "" };
                let href = here.path(&path);
                view! { li { a(class=class, href=href) { (icon::icon(icon::ALERT)) (text) } } }
            })
            .collect();
        view! { ul(class="attention", aria-label="What needs attention") { (lines) } }
    })
}

/// Functions that fail, the worst first.
fn of_functions(groups: &[UsageGroup], span: &str, words: &str) -> Vec<Line> {
    let fails = |group: &&UsageGroup| {
        let (wrong, of) = (failed(&group.usage), counted(&group.usage));
        of >= FAILING_RUNS_MIN && wrong.saturating_mul(100) > of.saturating_mul(FAILING_PERCENT)
    };
    let mut failing: Vec<&UsageGroup> = groups.iter().filter(fails).collect();
    failing.sort_by_key(|group| std::cmp::Reverse(failed(&group.usage)));
    let line = |group: &UsageGroup| {
        let (wrong, of) = (failed(&group.usage), counted(&group.usage));
        let (count, share) = (format::thousands(wrong), format::percent(wrong, of));
        Line {
            bad: true,
            text: format!("{} failed {count} of {} runs ({share}) in {words}", group.name, format::thousands(of)),
            path: format!("runs?function={}&outcome=failed,timed_out&{span}", group.name),
        }
    };
    failing.into_iter().map(line).collect()
}

fn of_jobs(jobs: &JobSummary, from: Timestamp, now_ms: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    if jobs.counts.dead > 0 {
        let count = format::many(jobs.counts.dead, "job");
        lines.push(Line {
            bad: true,
            text: format!("{count} used up every try"),
            path: format!("jobs/list?state=dead&ended_from={from}"),
        });
    }
    if let Some(since) = jobs.waiting_since.filter(|since| now_ms - since.0 > QUEUED_LONG_MS) {
        let minutes = (now_ms - since.0) / 60_000;
        lines.push(Line {
            bad: false,
            text: format!("A job has waited for a node for {minutes} min"),
            path: "jobs/list?state=queued".to_owned(),
        });
    }
    lines
}

/// Keys that end soon.
fn of_keys(keys: &[Key], now_ms: i64) -> Vec<Line> {
    let line = |key: &Key| Line {
        bad: false,
        text: format!(
            "The key {} expires {}",
            key.name,
            format::relative(key.expires.map_or(now_ms, |at| at.0), now_ms)
        ),
        path: "settings/keys".to_owned(),
    };
    keys.iter().filter(|key| ends_soon(key.expires, now_ms)).map(line).collect()
}

fn ends_soon(expires: Option<Timestamp>, now_ms: i64) -> bool {
    expires.is_some_and(|at| (0..EXPIRES_SOON_MS).contains(&(at.0 - now_ms)))
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::api::{UsageGroup, UsageSums};
    use protocol::job::JobSummary;

    use super::{EXPIRES_SOON_MS, ends_soon, of_functions, of_jobs};

    fn group(name: &str, runs: u64, failed: u64, cancelled: u64) -> UsageGroup {
        let usage = UsageSums { runs, failed, cancelled, ..UsageSums::default() };
        UsageGroup { key: name.to_owned(), name: name.to_owned(), at: None, usage }
    }

    #[test]
    fn a_function_that_fails_more_than_five_of_a_hundred_is_told() {
        let groups = [
            group("fine", 100, 5, 0),
            group("few", 19, 19, 0),
            group("bad", 20, 2, 0),
            group("worse", 400, 60, 0),
            // Cancelled ones count apart: 2 of 30 are more than five of a hundred.
            group("left", 130, 2, 100),
        ];
        let names: Vec<String> = of_functions(&groups, "", "the last hour").into_iter().map(|line| line.text).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(names[0], "worse failed 60 of 400 runs (15 %) in the last hour");
    }

    #[test]
    fn jobs_that_wait_long_and_dead_ones_are_told() {
        let mut jobs = JobSummary::default();
        assert!(of_jobs(&jobs, Timestamp(0), 0).is_empty());
        jobs.counts.dead = 1;
        jobs.waiting_since = Some(Timestamp(0));
        let lines = of_jobs(&jobs, Timestamp(0), 11 * 60_000);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["1 job used up every try", "A job has waited for a node for 11 min"]);
        assert_eq!(of_jobs(&jobs, Timestamp(0), 9 * 60_000).len(), 1);
    }

    #[test]
    fn a_key_s_end_is_told_a_week_before() {
        let soon = |expires: Option<i64>| ends_soon(expires.map(Timestamp), 1_000);
        let told = [None, Some(999), Some(1_000), Some(999 + EXPIRES_SOON_MS), Some(1_000 + EXPIRES_SOON_MS)].map(soon);
        assert_eq!(told, [false, false, true, true, false]);
    }
}
