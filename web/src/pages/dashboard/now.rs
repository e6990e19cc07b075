//! What goes on at this moment: CPU and memory, used of reserved, and what the nodes have.

use protocol::api::UsageNow;
use sycamore::prelude::*;

use crate::calls;
use crate::charts::{Segment, stacked_bar};
use crate::format;
use crate::load::{Resource, placeholder};
use crate::session::Here;

const REFRESH_MS: i32 = 5_000;

/// The part of the page.
pub(super) fn now(here: &Here) -> View {
    let account = here.account.clone();
    let now = Resource::every(
        || REFRESH_MS,
        move || {
            let account = account.clone();
            async move { calls::usage::now(&account).await }
        },
    );
    let here = here.clone();
    let body = View::from_dynamic(move || match now.ready() {
        Some(now) => shown(&here, &now),
        None => placeholder(4),
    });
    view! { section(class="section") { div(class="section-head") { h2 { "CPU and memory now" } } (body) } }
}

fn shown(here: &Here, now: &UsageNow) -> View {
    let minute = &now.last_minute;
    let cpu = gauge(
        "CPU, last minute",
        &format!("{} of {} CPUs reserved", format::figures(minute.cpus), format::figures(minute.reserved_cpus)),
        minute.cpus,
        minute.reserved_cpus,
    );
    let memory = gauge(
        "Memory, last minute",
        &format!("{} of {} reserved", format::bytes(minute.memory.0), format::bytes(minute.reserved_memory.0)),
        format::wide(minute.memory.0),
        format::wide(minute.reserved_memory.0),
    );
    let jobs = format!(
        "{} running on {} and {} · {} queued",
        format::many(now.jobs.running, "job"),
        format::count(now.jobs.reserved_cpus, "CPU"),
        format::bytes(now.jobs.reserved_memory.0),
        format::thousands(now.jobs.queued),
    );
    let cores = now.own.cores.saturating_add(now.operator.cores);
    let busy = now.own.busy_cores + now.operator.busy_cores;
    let count = now.own.nodes.saturating_add(now.operator.nodes);
    let nodes = gauge(
        &format::count(count, "node"),
        &format!("{} of {} busy", format::figures(busy), format::count(cores, "core")),
        busy,
        format::wide(cores),
    );
    let (open, all_nodes) = (here.path("jobs/list?state=queued,placed,running"), here.path("nodes"));
    view! {
        div(class="gauges") {
            (cpu)
            (memory)
            a(class="gauge-link", href=all_nodes) { (nodes) }
            p(class="gauge-note") { a(href=open) { (jobs) } }
        }
    }
}

/// How much of a whole there is, in words and as a bar.
fn gauge(title: &str, words: &str, used: f64, of: f64) -> View {
    let (title, words) = (title.to_owned(), words.to_owned());
    let part = |name: &str, value: f64, class| Segment { name: name.to_owned(), value, class, href: None };
    let bar = stacked_bar(vec![part("used", used, "accent"), part("free", (of - used).max(0.0), "track")]);
    view! { div(class="gauge") { span(class="gauge-title") { (title) } b { (words) } (bar) } }
}
