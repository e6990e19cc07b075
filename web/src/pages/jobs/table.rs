//! The table of jobs, wherever jobs are listed.

use protocol::Timestamp;
use protocol::api::Page;
use protocol::job::{Job, JobState};
use sycamore::prelude::*;

use crate::format;
use crate::load::{Resource, sleep};
use crate::session::Here;
use crate::ui::copy::short_id;
use crate::ui::job_bar::{job_bar, life, state_words};
use crate::ui::lane::{job_cpu, job_memory};
use crate::ui::live::Held;
use crate::ui::page::badge;
use crate::ui::time::{now_ms, time};

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

/// The live table. `whole` shows all columns.
pub(crate) fn jobs_table(here: &Here, list: Resource<Page<Job>>, whole: bool) -> View {
    let held = Held::follow(list, |page: Page<Job>| page.items, |one: &Job, other: &Job| one.id == other.id);
    let now = ticking(move || held.rows.with_untracked(|rows| rows.iter().any(|job| !job.state.ended())));
    let here = here.clone();
    let heads = whole.then(|| {
        view! {
            th(scope="col", class="used-cell") { "CPU" }
            th(scope="col", class="used-cell") { "Memory" }
            th(scope="col", class="number spare") { "Tries" }
        }
    });
    let table = view! {
        table(class="rows jobs") {
            thead {
                tr {
                    th(scope="col") { "State" }
                    th(scope="col") { "Job" }
                    th(scope="col", class="wide-bar") { "Life" }
                    (heads)
                    th(scope="col", class="number") { "Ran" }
                    th(scope="col", class="number") { "Submitted" }
                }
            }
            tbody {
                Keyed(
                    list=held.rows,
                    key=|job| (job.id, job.revision),
                    view=move |job| row(&here, job, now, whole),
                )
            }
        }
    };
    held.view(table)
}

/// How long the function ran, the last time.
fn ran(job: &Job, now_ms: i64) -> String {
    match (job.state, job.usage) {
        (JobState::Running, _) => {
            let since = job.started.unwrap_or(job.created);
            let ms = Timestamp(now_ms).since(since).as_millis();
            format!("{} s", ms / 1_000)
        }
        (_, Some(usage)) => format::micros(usage.wall_us),
        _ => "–".to_owned(),
    }
}

/// A label; an id as its value is shortened.
fn label_words(name: &str, value: &str) -> String {
    let is_id =
        value.split_once('_').is_some_and(|(_, rest)| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_id { format!("{name}={}", short_id(value)) } else { format!("{name}={value}") }
}

fn row(here: &Here, job: Job, now: ReadSignal<i64>, whole: bool) -> View {
    let href = here.path(&format!("jobs/{}", job.id));
    let title = format!("{}: {}", job.id, job.reason);
    let name = job.function.to_string();
    let about = match job.index {
        Some(index) => format!("v{} #{index}", job.version),
        None => format!("v{}", job.version),
    };
    let labels: Vec<String> = job.labels.iter().map(|(name, value)| label_words(name, value)).collect();
    let labels = (!labels.is_empty()).then(|| view! { span(class="soft job-labels") { (labels.join(" ")) } });
    let state = state_badge(&job);
    let used = whole.then(|| {
        let (cpu, memory, tries) = (job_cpu(&job).view(), job_memory(&job).view(), tries(&job));
        view! {
            td(data-label="CPU", class="used-cell") { (cpu) }
            td(data-label="Memory", class="used-cell") { (memory) }
            td(data-label="Tries", class="number spare") { (tries) }
        }
    });
    let when = time(job.created);
    // What has ended moves no more.
    let moment = move |ended: bool| if ended { now.get_untracked() } else { now.get() };
    let (of_bar, ended) = (job.clone(), job.state.ended());
    let bar = View::from_dynamic(move || job_bar(&life(&of_bar, moment(ended)), of_bar.state, None));
    let duration = move || ran(&job, moment(ended));
    view! {
        tr {
            td(data-label="State") { (state) }
            td(data-label="Job", title=title, class="job-cell") {
                a(class="strong", href=href) { (name) } " " span(class="soft") { (about) } (labels)
            }
            td(class="wide-bar", data-label="Life") { div(class="bar-cell") { (bar) } }
            (used)
            td(class="number", data-label="Ran") { (duration()) }
            td(class="number soft", data-label="Submitted") { (when) }
        }
    }
}
