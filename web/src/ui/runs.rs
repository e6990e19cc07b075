//! Runs as rows, wherever runs are listed.

use protocol::api::{Invocation, InvocationPage};
use protocol::receipt::Outcome;
use protocol::{RunId, RunSource};
use sycamore::prelude::*;

use super::lane::{cpu_used, lane_badge, memory_used};
use super::page::badge;
use super::run_bar::{LISTED_US_MIN, Phases, run_bar};
use super::table::{Column, Table};
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

/// Which columns a table of runs has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Of all functions, few columns.
    Short,
    /// Of one function.
    OfFunction,
    /// Of all functions, all columns.
    Whole,
}

/// A row is drawn anew when what it shows has changed.
pub(crate) type Key = (RunId, bool);

/// The columns. `list` is where the rows come from: bars are drawn to the scale of the longest.
pub(crate) fn runs_columns(here: &Here, list: Resource<InvocationPage>, shown: Shown) -> Table<Invocation, Key> {
    let longest_us = create_memo(move || {
        list.data.with(|page| match page {
            crate::load::Load::Ready(page) => page.items.iter().map(|run| run.wall_us).max().unwrap_or(0),
            _ => 0,
        })
    });
    let mut table = Table::new("runs", |run: &Invocation| (run.run, run.settled)).column(
        Column::new("Response", |run: &Invocation| {
            let (tone, word) = outcome_words(run);
            badge(tone, word)
        })
        .csv(|run| outcome_words(run).1)
        .mark(),
    );
    if shown != Shown::OfFunction {
        table = table.column(function_column(here));
    }
    table = table.column(request_column(here)).column(bar_column(longest_us));
    if shown != Shown::Short {
        let cpu = Column::new("CPU", |run: &Invocation| cpu_used(run).view());
        let memory = Column::new("Memory", |run: &Invocation| memory_used(run).view());
        table = table
            .column(
                cpu.class("used-cell")
                    .spare()
                    .csv(|run| run.usage.cpu_us.to_string())
                    .sorted("cpu", |one, other| other.usage.cpu_us.cmp(&one.usage.cpu_us)),
            )
            .column(
                memory
                    .class("used-cell")
                    .spare()
                    .csv(|run| run.usage.memory_peak.0.to_string())
                    .sorted("memory", |one, other| other.usage.memory_peak.cmp(&one.usage.memory_peak)),
            );
    }
    if shown == Shown::Whole {
        table = table.column(
            Column::new("Source", |run: &Invocation| {
                let word = run.source.map_or("–", RunSource::as_str);
                view! { span(class="soft") { (word) } }
            })
            .class("source-cell")
            .spare()
            .csv(|run| run.source.map_or("", RunSource::as_str).to_owned()),
        );
    }
    table
        .column(
            Column::new("Duration", |run: &Invocation| {
                let duration = format::micros(run.wall_us);
                view! { (duration) }
            })
            .number()
            .note()
            .csv(|run| run.wall_us.to_string())
            .sorted("duration", |one, other| other.wall_us.cmp(&one.wall_us)),
        )
        .column(
            Column::new("When", |run: &Invocation| time(run.received))
                .number()
                .class("soft")
                .figure()
                .csv(|run| run.received.to_string()),
        )
}

fn function_column(here: &Here) -> Column<Invocation> {
    let here = here.clone();
    Column::new("Function", move |run: &Invocation| {
        let href = here.path(&format!("functions/{}", run.function));
        let (name, version) = (run.function.to_string(), format!("v{}", run.version));
        view! { a(href=href) { (name) } " " span(class="soft") { (version) } }
    })
    .class("function-cell")
    .note()
    .csv(|run| format!("{}@v{}", run.function, run.version))
}

fn request_column(here: &Here) -> Column<Invocation> {
    let here = here.clone();
    Column::new("Request", move |run: &Invocation| {
        let href = here.path(&format!("runs/{}", run.run));
        let title = format!("{} {}", run.method, run.path);
        let (method, path) = (run.method.clone(), run.path.clone());
        view! { a(href=href, title=title) { b { (method) } " " (path) } }
    })
    .class("request")
    .lead()
    .csv(|run| format!("{} {}", run.method, run.path))
}

fn bar_column(longest_us: ReadSignal<u64>) -> Column<Invocation> {
    Column::new("Run", move |run: &Invocation| {
        let phases = Phases {
            wall_us: run.wall_us,
            ran_us: run.usage.wall_us,
            lane: run.lane,
            outcome: run.outcome,
            settled: run.settled,
            full_us: 0,
        };
        let long = run.wall_us >= LISTED_US_MIN;
        let bar = long.then(|| View::from_dynamic(move || run_bar(Phases { full_us: longest_us.get(), ..phases })));
        let lane = lane_badge(run.lane);
        view! { div(class="bar-cell") { (lane) (bar) } }
    })
    .class("wide-bar run-cell")
}

/// Two rows are of the same run.
pub(crate) fn same(one: &Invocation, other: &Invocation) -> bool {
    one.run == other.run
}

/// A short list, live.
pub(crate) fn runs_short(here: &Here, list: Resource<InvocationPage>) -> View {
    let table = runs_columns(here, list, Shown::Short).plain();
    let table = table.empty(|| view! { p(class="nothing") { "No runs yet. Calls appear here as they happen." } });
    table.live(list, |page: InvocationPage| page.items, same)
}

/// A function's newest runs, live, and how far back the list goes.
pub(crate) fn runs_of_function(here: &Here, list: Resource<InvocationPage>) -> View {
    let table = runs_columns(here, list, Shown::OfFunction).plain();
    let table = table.live(list, |page: InvocationPage| page.items, same);
    view! { (table) (kept_since(list)) }
}

/// The time from which the list is complete, and what of it cannot be read.
pub(crate) fn kept_since(list: Resource<InvocationPage>) -> View {
    let told = create_selector(move || list.ready().map(|page| (page.since, page.damaged)));
    View::from_dynamic(move || {
        let (since, damaged) = told.get_clone()?;
        let since = since.map(time).map(|since| view! { p(class="hint table-foot") { "Kept since " (since) "." } });
        let damaged = (!damaged.is_empty()).then(|| {
            let blocks = damaged.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let words = format!("Runs are missing: they are in damaged blocks of the history, {blocks}.");
            view! { p(class="hint table-foot warn-text") { (words) } }
        });
        Some(view! { (since) (damaged) })
    })
}
