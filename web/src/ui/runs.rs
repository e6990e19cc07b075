//! The table of runs, wherever runs are listed.

use protocol::api::{Invocation, InvocationPage};
use protocol::receipt::Outcome;
use sycamore::prelude::*;

use super::lane::{cpu_used, lane_badge, memory_used};
use super::live::Held;
use super::page::badge;
use super::run_bar::{LISTED_US_MIN, Phases, run_bar};
use super::time::time;
use crate::format;
use crate::load::Resource;
use crate::session::Here;

/// What a run's end is called, and its tone.
pub(crate) fn outcome_words(run: &Invocation) -> (&'static str, String) {
    match run.outcome {
        Outcome::Succeeded if run.status < 400 => ("good", run.status.to_string()),
        Outcome::Succeeded => ("warn", run.status.to_string()),
        Outcome::Failed => ("bad", code_or(run, "failed")),
        Outcome::TimedOut => ("bad", code_or(run, "timed out")),
        Outcome::Cancelled => ("", "cancelled".to_owned()),
        Outcome::PlatformFailed => ("bad", code_or(run, "platform")),
    }
}

fn code_or(run: &Invocation, word: &str) -> String {
    run.code.map_or_else(|| word.to_owned(), |code| code.as_str().to_owned())
}

/// The live table, and how far back it goes. `whole` shows the function too.
pub(crate) fn runs_table(here: &Here, list: Resource<InvocationPage>, whole: bool) -> View {
    let same = |one: &Invocation, other: &Invocation| one.run == other.run;
    let held = Held::follow(list, |page: InvocationPage| page.items, same);
    let longest_us = create_memo(move || held.rows.with(|rows| rows.iter().map(|run| run.wall_us).max().unwrap_or(0)));
    let here = here.clone();
    let function_head = whole.then(|| view! { th(scope="col") { "Function" } });
    let table = view! {
        table(class="rows runs") {
            thead {
                tr {
                    th(scope="col") { "Response" }
                    (function_head)
                    th(scope="col") { "Request" }
                    th(scope="col", class="wide-bar") { "Run" }
                    th(scope="col", class="used-cell spare") { "CPU" }
                    th(scope="col", class="used-cell spare") { "Memory" }
                    th(scope="col", class="number") { "Duration" }
                    th(scope="col", class="number") { "When" }
                }
            }
            tbody {
                Keyed(
                    list=held.rows,
                    // A row is drawn anew when what it shows has changed.
                    key=|run| (run.run, run.settled),
                    view=move |run| row(&here, run, longest_us, whole),
                )
            }
        }
    };
    let since = create_selector(move || list.ready().and_then(|page| page.since));
    let kept = View::from_dynamic(move || {
        let since = time(since.get()?);
        Some(view! { p(class="soft") { "Kept since " (since) } })
    });
    let table = held.view(table);
    view! { (table) (kept) }
}

fn row(here: &Here, run: Invocation, longest_us: ReadSignal<u64>, whole: bool) -> View {
    let (tone, word) = outcome_words(&run);
    let logs = here.path(&format!("functions/{}/logs?run={}", run.function, run.run));
    let function = whole.then(|| {
        let href = here.path(&format!("functions/{}", run.function));
        let name = run.function.to_string();
        let version = format!("v{}", run.version);
        view! { td(data-label="Function") { a(href=href) { (name) } " " span(class="soft") { (version) } } }
    });
    let request = format!("{} {}", run.method, run.path);
    let title = request.clone();
    let (method, path) = (run.method.clone(), run.path.clone());
    let duration = format::micros(run.wall_us);
    let when = time(run.received);
    let phases = Phases {
        wall_us: run.wall_us,
        ran_us: run.usage.wall_us,
        lane: run.lane,
        outcome: run.outcome,
        settled: run.settled,
        full_us: 0,
    };
    let is_long = run.wall_us >= LISTED_US_MIN;
    let bar = is_long.then(|| View::from_dynamic(move || run_bar(Phases { full_us: longest_us.get(), ..phases })));
    let outcome = badge(tone, word);
    let lane = lane_badge(run.lane);
    let (cpu, memory) = (cpu_used(&run).view(), memory_used(&run).view());
    view! {
        tr {
            td(data-label="Response") { (outcome) }
            (function)
            td(class="request", data-label="Request", title=title) { a(href=logs) { b { (method) } " " (path) } }
            td(class="wide-bar", data-label="Run") { div(class="bar-cell") { (bar) (lane) } }
            td(data-label="CPU", class="used-cell spare") { (cpu) }
            td(data-label="Memory", class="used-cell spare") { (memory) }
            td(class="number", data-label="Duration") { (duration) }
            td(class="number soft", data-label="When") { (when) }
        }
    }
}
