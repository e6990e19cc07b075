//! Requests and jobs over time by outcome, and the table behind that.

use protocol::api::UsageSums;
use protocol::receipt::Outcome;
use sycamore::prelude::*;

use super::figures::{Bin, bins};
use super::{Data, Told};
use crate::format;
use crate::load::placeholder;
use crate::session::Here;
use crate::ui::columns::{Bar, columns};
use crate::ui::period::{Period, Span};

/// Outcomes from the bottom of a column, with colour and word.
const OUTCOMES: [(Outcome, &str, &str); 5] = [
    (Outcome::Succeeded, "accent", "succeeded"),
    (Outcome::Failed, "bad", "failed"),
    (Outcome::TimedOut, "warn", "timed out"),
    (Outcome::PlatformFailed, "vm", "platform failed"),
    (Outcome::Cancelled, "soft", "cancelled"),
];

/// Runs that ended so.
fn of(sums: &UsageSums, outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Succeeded => sums.succeeded,
        Outcome::Failed => sums.failed,
        Outcome::TimedOut => sums.timed_out,
        Outcome::PlatformFailed => sums.platform_failed,
        Outcome::Cancelled => sums.cancelled,
    }
}

/// As the API's lists filter by it.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed_out",
        Outcome::PlatformFailed => "platform_failed",
        Outcome::Cancelled => "cancelled",
    }
}

/// The part of the page.
pub(super) fn chart(here: &Here, data: Data) -> View {
    let (drawn_for, legend_for, table_for) = (here.clone(), here.clone(), here.clone());
    let drawn = View::from_dynamic(move || match data.moved.ready() {
        Some(told) => drawing(&drawn_for, &told),
        None => placeholder(5),
    });
    let legend = View::from_dynamic(move || data.moved.ready().map(|told| legend(&legend_for, &told)));
    let sources = View::from_dynamic(move || data.by_source.ready().map(|told| sources(&told)));
    // The table is made when somebody opens it, and follows from then on.
    let open = create_signal(false);
    let table = View::from_dynamic(move || match (open.get(), data.moved.ready()) {
        (true, Some(told)) => Some(table(&table_for, &told)),
        _ => None,
    });
    view! {
        section(class="section") {
            div(class="section-head") { h2 { "Requests and jobs" } (sources) }
            (drawn)
            (legend)
            details(class="behind", on:toggle=move |_| open.set(true)) { summary { "As a table" } (table) }
        }
    }
}

/// What made the runs: requests on one side, jobs on the other.
fn sources(told: &Told) -> View {
    let sum = |sources: &[&str]| -> u64 {
        let items = told.report.items.iter().filter(|group| sources.contains(&group.key.as_str()));
        items.map(|group| group.usage.runs).fold(0, u64::saturating_add)
    };
    let (requests, jobs) = (sum(&["call", "test"]), sum(&["job", "schedule", "queue"]));
    let text = format!("{} · {} of jobs", format::many(requests, "request"), format::many(jobs, "run"));
    view! { p(class="about") { (text) } }
}

fn rows_of(here: &Here, outcome: Option<Outcome>, span: Span) -> String {
    let outcome = outcome.map(|outcome| format!("outcome={}&", word(outcome))).unwrap_or_default();
    here.path(&format!("runs?{outcome}{}", span.query()))
}

/// When a column is, in words.
fn when(bin: &Bin, period: Period) -> String {
    let from = bin.span.from;
    match period {
        Period::Hour | Period::Day => format::hour(from),
        Period::Week => format!("{} {}", format::day(from), format::hour(from)),
        Period::Month => format::day(from),
    }
}

fn drawing(here: &Here, told: &Told) -> View {
    let period = told.period;
    let bins = bins(&told.report.items, told.span, period.column_ms());
    let at = |place: usize| bins.get(place).map(|bin| when(bin, period)).unwrap_or_default();
    let axis = [at(0), at(bins.len() / 2), "now".to_owned()];
    let bar = |bin: &Bin| {
        let counts = OUTCOMES.map(|(outcome, colour, word)| (colour, of(&bin.sums, outcome), word));
        let told = counts.iter().filter(|(_, count, _)| *count > 0);
        let told: Vec<String> = told.map(|(_, count, word)| format!("{} {word}", format::thousands(*count))).collect();
        let told = if told.is_empty() { "no runs".to_owned() } else { told.join(", ") };
        Bar {
            title: format!("{}: {told}", when(bin, period)),
            parts: counts.map(|(colour, count, _)| (colour, count)).to_vec(),
            href: rows_of(here, None, bin.span),
        }
    };
    let label = format!("Runs by outcome in {}: {} in all", period.words(), told.report.total.runs);
    columns(label, bins.iter().map(bar).collect(), axis)
}

/// Outcomes with their sums, each a link to its rows.
fn legend(here: &Here, told: &Told) -> View {
    let parts: Vec<View> = OUTCOMES
        .into_iter()
        .map(|(outcome, colour, word)| {
            let count = of(&told.report.total, outcome);
            let (href, class) = (rows_of(here, Some(outcome), told.span), format!("key part-key-{colour}"));
            let count = format::thousands(count);
            view! { a(class=class, href=href) { (word) " " b { (count) } } }
        })
        .collect();
    view! { p(class="keys") { (parts) } }
}

fn table(here: &Here, told: &Told) -> View {
    let period = told.period;
    let heads: Vec<View> =
        OUTCOMES.iter().map(|(_, _, word)| view! { th(scope="col", class="number") { (*word) } }).collect();
    let bins = bins(&told.report.items, told.span, period.column_ms());
    let rows: Vec<View> = bins
        .iter()
        .filter(|bin| bin.sums.runs > 0)
        .map(|bin| {
            let cells: Vec<View> = OUTCOMES
                .iter()
                .map(|(outcome, _, word)| {
                    let count = format::thousands(of(&bin.sums, *outcome));
                    view! { td(class="number", data-label=*word) { (count) } }
                })
                .collect();
            let (href, when) = (rows_of(here, None, bin.span), when(bin, period));
            view! { tr { td(data-label="From") { a(href=href) { (when) } } (cells) } }
        })
        .collect();
    view! {
        table(class="rows") {
            thead { tr { th(scope="col") { "From" } (heads) } }
            tbody { (rows) }
        }
    }
}
