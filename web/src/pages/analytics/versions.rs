//! The versions of a function side by side: what each answered, how long that took, and what it used.

use protocol::api::UsageGroup;
use sycamore::prelude::*;

use super::data::{Subject, Told};
use super::metrics::{counted, failed};
use crate::format;
use crate::ui::page;

/// The table.
pub(super) fn versions(subject: &Subject) -> View {
    let told = subject.usage(|_| "version".to_owned(), |asked| asked.period.span());
    let of = subject.clone();
    let table = told.view(2, move |told| table(&of, &told));
    page::section("By version", "", table)
}

fn table(subject: &Subject, told: &Told) -> View {
    let rows: Vec<View> = told.report.items.iter().map(|group| row(subject, told, group)).collect();
    view! {
        table(class="rows", id="versions") {
            thead {
                tr {
                    th(scope="col") { "Version" }
                    th(scope="col", class="number") { "Runs" }
                    th(scope="col", class="number") { "Failure rate" }
                    th(scope="col", class="number") { "p50" }
                    th(scope="col", class="number") { "p95" }
                    th(scope="col", class="number") { "Warm" }
                    th(scope="col", class="number") { "Cold" }
                    th(scope="col", class="number") { "CPU" }
                    th(scope="col", class="number") { "Memory" }
                }
            }
            tbody { (rows) }
        }
    }
}

fn row(subject: &Subject, told: &Told, group: &UsageGroup) -> View {
    let number = group.name.rsplit_once("@v").map(|(_, number)| number).filter(|number| number.parse::<u32>().is_ok());
    let name = number.map_or_else(|| group.name.clone(), |number| format!("v{number}"));
    let rows = number.map(|number| told.asked.runs(&subject.here, told.span, &[("version", number)]));
    let name = match rows {
        Some(href) => view! { a(class="strong", href=href) { (name) } },
        None => view! { (name) },
    };
    let sums = &group.usage;
    let micros = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), format::micros);
    let [p50, p95] =
        [sums.latency.map(|latency| latency.p50_us), sums.latency.map(|latency| latency.p95_us)].map(micros);
    let [runs, warm, cold] = [sums.runs, sums.warm, sums.cold].map(format::thousands);
    let rate = format::percent(failed(sums), counted(sums));
    let (cpu, memory) = (format::cpu_hours(sums.cpu_us), format::memory_hours(sums.memory_kib_ms));
    view! {
        tr {
            td(data-label="Version") { (name) }
            td(data-label="Runs", class="number") { (runs) }
            td(data-label="Failure rate", class="number") { (rate) }
            td(data-label="p50", class="number") { (p50) }
            td(data-label="p95", class="number") { (p95) }
            td(data-label="Warm", class="number") { (warm) }
            td(data-label="Cold", class="number") { (cold) }
            td(data-label="CPU", class="number") { (cpu) }
            td(data-label="Memory", class="number") { (memory) }
        }
    }
}
