//! The table of jobs, wherever jobs are listed.

use std::collections::BTreeMap;

use protocol::api::Page;
use protocol::job::{Job, JobState};
use protocol::{NodeId, Timestamp};
use sycamore::prelude::*;

use super::select::Selected;
use super::used;
use crate::calls;
use crate::format;
use crate::load::{Resource, sleep};
use crate::session::Here;
use crate::ui::copy::short_id;
use crate::ui::job_bar::{Part, job_bar, life, state_words, sum_us};
use crate::ui::page::badge;
use crate::ui::run_bar::LISTED_US_MIN;
use crate::ui::table::{Column, Table};
use crate::ui::time::{now_ms, time};
use crate::ui::why::node_name;

/// Bars of what goes on grow so often.
const GROWS_EVERY_MS: i32 = 1_000;

/// The state as a badge.
pub(crate) fn state_badge(job: &Job) -> View {
    if job.cancelling && !job.state.ended() {
        return badge("warn", "cancelling");
    }
    let tone = match job.state {
        JobState::Queued | JobState::Cancelled => "",
        JobState::Placed | JobState::Running => "live-state",
        JobState::Succeeded => "good",
        JobState::Failed | JobState::TimedOut | JobState::Dead => "bad",
    };
    badge(tone, state_words(job.state))
}

/// The tries that it had, of those that it may have.
pub(crate) fn tries(job: &Job) -> String {
    match job.retries {
        0 => job.attempts.to_string(),
        retries => format!("{} of {}", job.attempts, u64::from(retries) + 1),
    }
}

/// The present, as long as `moves` says that it matters.
pub(crate) fn ticking(moves: impl Fn() -> bool + 'static) -> ReadSignal<i64> {
    let now = create_signal(now_ms());
    sycamore::futures::spawn_local_scoped(async move {
        loop {
            sleep(GROWS_EVERY_MS).await;
            if moves() {
                now.set(now_ms());
            }
        }
    });
    *now
}

/// A job's row is drawn anew when it has changed.
type Key = (protocol::JobId, u64);

/// The present, while one of these goes on.
fn clock_of(list: Resource<Page<Job>>) -> ReadSignal<i64> {
    ticking(move || untrack(|| list.ready()).is_some_and(|page| page.items.iter().any(|job| !job.state.ended())))
}

/// What every table of jobs begins with; before it, the boxes to choose by.
fn columns(here: &Here, now: ReadSignal<i64>, choose: Option<Column<Job>>) -> Table<Job, Key> {
    let here = here.clone();
    let name = move |job: &Job| name_cell(&here, job);
    let table = Table::new("jobs", |job: &Job| (job.id, job.revision));
    let table = choose.into_iter().fold(table, Table::column);
    table
        .column(Column::new("State", state_badge).csv(|job| job.state.to_string()).mark())
        .column(Column::new("Job", name).class("job-cell").csv(|job| job.id.to_string()).lead())
        .column(Column::new("Life", move |job: &Job| bar_cell(job, now)).class("wide-bar"))
}

/// With the times, which end every table of jobs.
fn with_times(table: Table<Job, Key>, now: ReadSignal<i64>, submitted: Column<Job>) -> Table<Job, Key> {
    table
        .column(Column::new("Ran", move |job: &Job| ran_cell(job, now)).number().csv(ran_us).figure().worded())
        .column(submitted)
}

fn submitted() -> Column<Job> {
    Column::new("Submitted", |job: &Job| time(job.created))
        .class("soft")
        .number()
        .csv(|job| job.created.to_string())
        .note()
}

fn ran_us(job: &Job) -> String {
    job.usage.map_or_else(String::new, |usage| usage.wall_us.to_string())
}

/// The whole table of the list's page, with boxes to choose by. The database sorts by submission and, without a column, by
/// end; a page alone is sorted by nothing.
pub(crate) fn whole_table(here: &Here, list: Resource<Page<Job>>, selected: Selected) -> Table<Job, Key> {
    let now = clock_of(list);
    let names = node_names(here);
    let node = move |job: &Job| match job.node {
        Some(node) => View::from_dynamic(move || node_name(node, &names.get_clone())),
        None => view! { span(class="soft") { "–" } },
    };
    let choose = Column::new("Choose", move |job: &Job| selected.check_box(job)).class("choose");
    let table = columns(here, now, Some(choose))
        .column(Column::new("CPU", |job: &Job| used::cell(used::cpu(job))).csv(|job| used::words(used::cpu(job))))
        .column(Column::new("RAM", |job: &Job| used::cell(used::memory(job))).csv(|job| used::words(used::memory(job))))
        .column(Column::new("Tries", |job: &Job| tries(job).into()).number().spare().csv(tries))
        .column(
            Column::new("Node", node).spare().csv(|job| job.node.map_or_else(String::new, |node| node.to_string())),
        );
    with_times(table, now, submitted().sorted_by_server("submitted"))
}

/// A short live table among other parts of a page.
pub(crate) fn short_table(here: &Here, list: Resource<Page<Job>>) -> Table<Job, Key> {
    let now = clock_of(list);
    with_times(columns(here, now, None), now, submitted()).plain()
}

/// A table that follows its list.
pub(crate) fn live(table: Table<Job, Key>, list: Resource<Page<Job>>) -> View {
    table.live(list, |page: Page<Job>| page.items, |one: &Job, other: &Job| one.id == other.id)
}

/// Names of the nodes, as far as they are known.
fn node_names(here: &Here) -> ReadSignal<BTreeMap<NodeId, String>> {
    let account = here.account.clone();
    let nodes = Resource::new(move || {
        let account = account.clone();
        async move { calls::nodes::list(&account).await }
    });
    create_selector(move || {
        let nodes = nodes.ready().map(|page| page.items).unwrap_or_default();
        nodes.into_iter().map(|node| (node.id, node.name)).collect()
    })
}

/// A label; an id as its value is shortened.
fn label_words(name: &str, value: &str) -> String {
    let is_id =
        value.split_once('_').is_some_and(|(_, rest)| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_id { format!("{name}={}", short_id(value)) } else { format!("{name}={value}") }
}

fn name_cell(here: &Here, job: &Job) -> View {
    let href = here.path(&format!("jobs/{}", job.id));
    let title = format!("{}: {}", job.id, job.reason);
    let name = job.function.to_string();
    let about = match job.index {
        Some(index) => format!("v{} #{index}", job.version),
        None => format!("v{}", job.version),
    };
    let labels: Vec<String> = job.labels.iter().map(|(name, value)| label_words(name, value)).collect();
    let labels = (!labels.is_empty()).then(|| view! { " " span(class="soft job-labels") { (labels.join(" ")) } });
    view! {
        span(class="job-name", title=title) {
            a(class="strong", href=href) { (name) } " " span(class="soft") { (about) } (labels)
        }
    }
}

/// The bar, where it says anything: what was done at once has none.
fn bar_cell(job: &Job, now: ReadSignal<i64>) -> View {
    let job = job.clone();
    if !job.state.ended() {
        return View::from_dynamic(move || job_bar(&life(&job, now.get()), job.state, None));
    }
    // What has ended moves no more.
    let spans = life(&job, now.get_untracked());
    if sum_us(&spans, &Part::ALL) < LISTED_US_MIN {
        view! {}
    } else {
        job_bar(&spans, job.state, None)
    }
}

/// How long the function ran, the last time.
fn ran_cell(job: &Job, now: ReadSignal<i64>) -> View {
    if job.state != JobState::Running {
        return job.usage.map_or_else(|| "–".to_owned(), |usage| format::micros(usage.wall_us)).into();
    }
    let since = job.started.unwrap_or(job.created);
    let words = move || match Timestamp(now.get()).since(since).as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format::micros(seconds.saturating_mul(1_000_000)),
    };
    view! { (words()) }
}
