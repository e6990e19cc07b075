//! The busiest and the failing functions, and the newest runs.

use std::collections::BTreeMap;

use protocol::api::{InvocationPage, UsageGroup};
use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;

use super::figures::{counted, failed};
use super::{Data, Told};
use crate::calls;
use crate::format;
use crate::load::{Resource, placeholder};
use crate::session::Here;
use crate::ui::period::Span;
use crate::ui::runs::runs_short;
use crate::ui::table::{Column, Table};

/// Functions in each list.
const SHOWN: usize = 5;
/// Runs in the list of activity.
const ACTIVITY_ROWS: u32 = 10;
const ACTIVITY_REFRESH_MS: i32 = 3_000;

/// One function's figures in the period.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    group: UsageGroup,
    span: Span,
    /// The code of its last run that went wrong.
    code: Option<String>,
}

/// Those that are the first by `rank`, where that is not nothing.
fn first(told: &Told, rank: fn(&UsageGroup) -> u64) -> Vec<Row> {
    let mut groups: Vec<&UsageGroup> = told.report.items.iter().filter(|group| rank(group) > 0).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(rank(group)));
    let row = |group: &UsageGroup| Row { group: group.clone(), span: told.span, code: None };
    groups.into_iter().take(SHOWN).map(row).collect()
}

/// The functions with the most runs.
pub(super) fn busiest(here: &Here, data: Data) -> View {
    let rows = create_memo(move || data.by_function.ready().map(|told| first(&told, |group| group.usage.runs)));
    let table =
        Table::new("busiest functions", |row: &Row| (row.group.key.clone(), row.group.usage.runs, row.span.from))
            .column(name_column(here).lead())
            .column(runs_column(here, "Runs", "", |row| row.group.usage.runs).mark().worded())
            .column(
                Column::new("Half within", |row: &Row| {
                    let half =
                        row.group.usage.latency.map_or("–".to_owned(), |latency| format::micros(latency.p50_us));
                    view! { (half) }
                })
                .number()
                .note()
                .worded(),
            )
            .column(
                Column::new("CPU", |row: &Row| {
                    let cpu = format::micros(row.group.usage.cpu_us);
                    view! { (cpu) }
                })
                .number()
                .figure()
                .worded(),
            );
    section("Busiest functions", here.path("functions"), "All functions", rows, table, "No runs in this period.")
}

/// The functions with the most runs that they failed.
pub(super) fn failing(here: &Here, data: Data) -> View {
    let account = here.account.clone();
    let codes = create_signal(BTreeMap::<String, String>::new());
    create_effect(move || {
        let Some(told) = data.by_function.ready() else { return };
        for Row { group, span, .. } in first(&told, |group| failed(&group.usage)) {
            let account = account.clone();
            spawn_local_scoped(async move {
                // A function whose last run cannot be told is in the list all the same.
                let Ok(Some(run)) = calls::usage::last_wrong(&account, &group.name, span).await else { return };
                let code = run.code.map_or(run.status.to_string(), |code| code.as_str().to_owned());
                codes.update(|codes| codes.insert(group.name, code));
            });
        }
    });
    let rows = create_memo(move || {
        let mut rows = first(&data.by_function.ready()?, |group| failed(&group.usage));
        for row in &mut rows {
            row.code = codes.with(|codes| codes.get(&row.group.name).cloned());
        }
        Some(rows)
    });
    let key = |row: &Row| (row.group.key.clone(), row.group.usage.runs, row.code.clone(), row.span.from);
    let table = Table::new("failing functions", key)
        .column(name_column(here).lead())
        .column(
            runs_column(here, "Failed", "outcome=failed,timed_out&", |row| failed(&row.group.usage)).mark().worded(),
        )
        .column(
            Column::new("Rate", |row: &Row| {
                let rate = format::percent(failed(&row.group.usage), counted(&row.group.usage));
                view! { (rate) }
            })
            .number()
            .figure()
            .worded(),
        )
        .column(
            Column::new("Last code", |row: &Row| {
                let code = row.code.clone().unwrap_or_else(|| "–".to_owned());
                view! { code { (code) } }
            })
            .note(),
        );
    let path = here.path("runs?outcome=failed,timed_out");
    section("Failing functions", path, "All failed runs", rows, table, "No function failed in this period.")
}

fn name_column(here: &Here) -> Column<Row> {
    let here = here.clone();
    Column::new("Function", move |row: &Row| {
        let (href, name) = (here.path(&format!("functions/{}", row.group.name)), row.group.name.clone());
        view! { a(class="strong", href=href) { (name) } }
    })
}

/// A count that leads to its rows.
fn runs_column(here: &Here, title: &'static str, filter: &'static str, count: fn(&Row) -> u64) -> Column<Row> {
    let here = here.clone();
    Column::new(title, move |row: &Row| {
        let path = format!("runs?function={}&{filter}{}", row.group.name, row.span.query());
        let (href, count) = (here.path(&path), format::thousands(count(row)));
        view! { a(href=href) { (count) } }
    })
    .number()
}

fn section<K: std::hash::Hash + Eq + 'static>(
    title: &'static str,
    href: String,
    all: &'static str,
    rows: ReadSignal<Option<Vec<Row>>>,
    table: Table<Row, K>,
    nothing: &'static str,
) -> View {
    let there = create_selector(move || rows.with(Option::is_some));
    let shown = create_memo(move || rows.get_clone().unwrap_or_default());
    let table = table.plain().empty(move || view! { p(class="nothing") { (nothing) } });
    let body = View::from_dynamic(move || if there.get() { table.view(shown) } else { placeholder(3) });
    view! {
        section(class="section") {
            div(class="section-head") { h2 { (title) } a(href=href) { (all) } }
            (body)
        }
    }
}

/// The newest runs.
pub(super) fn activity(here: &Here) -> View {
    let account = here.account.clone();
    let runs: Resource<InvocationPage> = Resource::every(
        || ACTIVITY_REFRESH_MS,
        move || {
            let account = account.clone();
            async move { calls::usage::runs(&account, "", "", ACTIVITY_ROWS).await }
        },
    );
    let all = here.path("runs");
    let table = runs_short(here, runs);
    view! {
        section(class="section") {
            div(class="section-head") { h2 { "Activity" } a(href=all) { "All runs" } }
            (table)
        }
    }
}
