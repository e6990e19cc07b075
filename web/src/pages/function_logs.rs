//! A function's runs and what they wrote, live. The URL's `run` shows one run alone.

use std::collections::BTreeMap;

use protocol::api::{Invocation, Node, Page};
use protocol::placement::Explanation;
use protocol::{NodeId, RunId};
use sycamore::prelude::*;

use crate::api::Trouble;
use crate::calls;
use crate::format;
use crate::load::{Load, Resource, placeholder};
use crate::pages::function::Subject;
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::copy::{id_chip, short_id};
use crate::ui::lane::{Used, bytes_used, cpu_used, lane_why, memory_used};
use crate::ui::log::log;
use crate::ui::meter::meter;
use crate::ui::page::{self, badge};
use crate::ui::run_bar::{Phases, legend, run_bar};
use crate::ui::runs::{outcome_words, runs_of_function};
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;
use crate::ui::why::{explanation_view, node_name};

/// The tab.
pub(crate) fn logs(subject: Subject) -> View {
    let run = sycamore_router::use_search_query("run");
    View::from_dynamic(move || match run.get_clone().filter(|run| !run.is_empty()) {
        Some(run) => one(&subject, &run),
        None => all(&subject),
    })
}

fn all(subject: &Subject) -> View {
    let (account, name) = (subject.here.account.clone(), subject.name.clone());
    let runs = Resource::live(move || {
        let (account, name) = (account.clone(), name.clone());
        async move { calls::invocations(&account, Some(&name)).await }
    });
    let here = subject.here.clone();
    let stage = create_selector(move || match runs.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(page) => Load::Ready(page.items.is_empty()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    let test = subject.tab("test");
    let all = subject.here.path(&format!("runs?function={}", subject.name));
    let table = View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(3),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(true) => {
            let test = test.clone();
            view! { p(class="nothing") { "No runs yet. " a(href=test) { "Call it from here" } "." } }
        }
        Load::Ready(false) => runs_of_function(&here, runs),
    });
    let command = code_block(format!("crowdcloud logs {} -f --account {}", subject.name, subject.account()), "command");
    let output =
        page::section("Output", "What the runs wrote to stdout and stderr, newest last.", output(subject, None));
    view! {
        section(class="section") { div(class="section-head") { h2 { "Runs" } (legend()) a(href=all) { "All runs" } } (table) }
        (output)
        p(class="soft as") { "As CLI" }
        (command)
    }
}

fn one(subject: &Subject, text: &str) -> View {
    let Ok(run) = text.parse::<RunId>() else {
        return trouble_view(Trouble::here("not_found", format!("{text} is not a run's id."), "Check the link."));
    };
    let account = subject.here.account.clone();
    let detail = Resource::live(move || {
        let account = account.clone();
        async move { calls::invocation(&account, run).await }
    });
    let back = subject.tab("logs");
    let head = id_chip(&run.to_string());
    let account = subject.here.account.clone();
    let nodes = Resource::new(move || {
        let account = account.clone();
        async move { calls::nodes(&account).await }
    });
    let placement = View::from_dynamic(move || {
        let run = detail.ready()?;
        Some(why(&run, run.placement.as_ref()?, nodes))
    });
    let here = subject.here.clone();
    let facts = detail.view(3, move |run| facts(&here, run, &names(nodes)));
    let output = page::section("Output", "", output(subject, Some(run)));
    view! {
        section(class="section") {
            div(class="section-head") { h2 { "Run " (head) } a(href=back) { "All runs" } }
            (facts)
        }
        (placement)
        (output)
    }
}

/// Why it ran where it ran.
fn why(run: &Invocation, kept: &Explanation, nodes: Resource<Page<Node>>) -> View {
    page::section("Why this node", "", explanation_view(kept, &names(nodes), run.node))
}

/// Names of the nodes, as far as they are known.
fn names(nodes: Resource<Page<Node>>) -> BTreeMap<NodeId, String> {
    let nodes = nodes.ready().map(|page| page.items).unwrap_or_default();
    nodes.into_iter().map(|node| (node.id, node.name)).collect()
}

fn facts(here: &Here, run: Invocation, names: &BTreeMap<NodeId, String>) -> View {
    let (tone, word) = outcome_words(&run);
    let phases = Phases {
        wall_us: run.wall_us,
        ran_us: run.usage.wall_us,
        lane: run.lane,
        outcome: run.outcome,
        settled: run.settled,
        full_us: run.wall_us,
    };
    let (bar, answer) = (run_bar(phases), badge(tone, word));
    let request = format!("{} {}", run.method, run.path);
    let version = format!("v{}", run.version);
    let platform = format::micros(run.wall_us.saturating_sub(run.usage.wall_us));
    let ran = format::micros(run.usage.wall_us);
    let total = format::micros(run.wall_us);
    let (cpu, memory) = (used(cpu_used(&run)), used(memory_used(&run)));
    let time_limit =
        run.limits.map(|limits| view! { " " span(class="soft") { "of at most " (format::spaced(limits.timeout)) } });
    let traffic = format!("{} in · {} out", format::bytes(run.usage.bytes_in.0), format::bytes(run.usage.bytes_out.0));
    let egress = used(bytes_used(run.usage.egress_bytes, run.limits.map(|limits| limits.egress_bytes)));
    let node = run.node.map(|node| node_name(node, names));
    let settled = if run.settled { badge("good", "settled") } else { badge("warn", "settling") };
    let lane = lane_why(run.lane, run.lane_reason);
    let job = run.job.map(|job| {
        let (href, job) = (here.path(&format!("jobs/{job}")), job.to_string());
        let short = short_id(&job);
        view! { dt { "Job" } dd(class="mono") { a(href=href, title=job) { (short) } } }
    });
    view! {
        div(class="run-bar-large") { (bar) }
        dl(class="phases") {
            div { dt { "Queued, placed, started" } dd { (platform) } }
            div { dt { "Ran" } dd { (ran) (time_limit) } }
            div { dt { "In all" } dd { (total) } }
            div { dt { "Bill" } dd { (settled) } }
        }
        dl(class="facts") {
            dt { "Response" } dd { (answer) }
            dt { "Request" } dd(class="mono") { (request) }
            dt { "Version" } dd { (version) }
            dt { "Received" } dd { (time(run.received)) }
            dt { "Lane" } dd { (lane) }
            dt { "Node" } dd { (node) }
            dt { "CPU" } dd { (cpu) }
            dt { "Peak memory" } dd { (memory) }
            dt { "Bytes" } dd { (traffic) }
            dt { "Egress" } dd { (egress) }
            (job)
        }
    }
}

/// What was used, of what was allowed, and its share.
fn used(used: Used) -> View {
    let share = used.percent.map(|percent| meter(*create_signal(percent)));
    let words = used.view();
    view! { span(class="used") { (words) (share) } }
}

/// Lines of a run, or of all runs; live.
pub(crate) fn output(subject: &Subject, run: Option<RunId>) -> View {
    let (account, name) = (subject.here.account.clone(), subject.name.clone());
    let runs = run.is_none().then(|| format!("{}?run=", subject.tab("logs")));
    let lines = Resource::live(move || {
        let (account, name) = (account.clone(), name.clone());
        async move {
            match run {
                Some(run) => calls::run_logs(&account, run).await,
                None => calls::logs(&account, &name).await,
            }
        }
    });
    lines.view(3, move |lines| log(lines, runs.as_deref()))
}
