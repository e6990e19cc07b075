//! One run: how it went, what it used, why it went where it went, and what it wrote.

use std::collections::BTreeMap;

use protocol::api::{Invocation, Node, Page};
use protocol::{NodeId, RunId};
use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;

use crate::api::Trouble;
use crate::calls;
use crate::format;
use crate::load::{POLL_AFTER_TROUBLE_MS, POLL_MS, Resource, seen, sleep};
use crate::nav;
use crate::session::Here;
use crate::ui::code::{api_curl, code_block};
use crate::ui::copy::{copy_button, short_id};
use crate::ui::lane::{bytes_used, cpu_used, lane_why, memory_used};
use crate::ui::log::log;
use crate::ui::page::{self, badge};
use crate::ui::run_bar::{Phases, legend, run_bar};
use crate::ui::runs::outcome_words;
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;
use crate::ui::why::{explanation_view, node_name};

/// The page.
pub(crate) fn run(text: &str) -> View {
    let here = Here::get();
    nav::title(&short_id(text));
    let Ok(id) = text.parse::<RunId>() else {
        let trouble = Trouble::here("not_found", format!("{text} is not a run's id."), "Check the link.");
        let (head, trouble) = (page::head("Run", "", view! {}), trouble_view(trouble));
        return view! { (head) (trouble) };
    };
    let found = found(here.account.clone(), id);
    let account = here.account.clone();
    let nodes = Resource::new(move || {
        let account = account.clone();
        async move { calls::nodes::list(&account).await }
    });
    let names = create_selector(move || names(nodes));
    let head = head(&here, id, found);
    let of_parts = here.clone();
    let parts = found.view(6, move |run| parts(&of_parts, &run, names));
    let output = page::section("Output", "What it wrote to stdout and stderr.", output(&here, id));
    let account = &here.account;
    let show = code_block(format!("crowdcloud invocations show {id} --account {account}"), "command");
    let logs = code_block(format!("crowdcloud logs {id} --account {account}"), "command of its logs");
    let curl = code_block(api_curl(account, "", &format!("/invocations/{id}")), "curl command");
    view! {
        (head)
        (parts)
        (output)
        p(class="soft as") { "As CLI" }
        (show)
        (logs)
        p(class="soft as") { "As curl" }
        (curl)
    }
}

/// The run, asked for until its figures are final. It is known from its end on.
fn found(account: String, id: RunId) -> Resource<Invocation> {
    let found = Resource::fed();
    spawn_local_scoped(async move {
        loop {
            let answer = calls::invocation(&account, id).await;
            let settled = answer.as_ref().is_ok_and(|run| run.settled);
            let pause = if answer.is_ok() { POLL_MS } else { POLL_AFTER_TROUBLE_MS };
            found.put(answer);
            if settled {
                return;
            }
            sleep(pause).await;
            seen().await;
        }
    });
    found
}

fn head(here: &Here, id: RunId, found: Resource<Invocation>) -> View {
    let (list, whole) = (here.path("runs"), id.to_string());
    let short = short_id(&whole);
    let copy = copy_button(whole.clone(), "id");
    let here = here.clone();
    let function = View::from_dynamic(move || {
        let run = found.ready()?;
        let (function, versions) =
            (format!("functions/{}", run.function), format!("functions/{}/versions", run.function));
        let (function, versions) = (here.path(&function), here.path(&versions));
        let (name, version) = (run.function.to_string(), format!("v{}", run.version));
        Some(view! { " · " a(href=function) { (name) } " " a(href=versions) { (version) } })
    });
    let outcome = View::from_dynamic(move || {
        let (tone, word) = outcome_words(&found.ready()?);
        Some(badge(tone, word))
    });
    view! {
        header(class="head") {
            div {
                p(class="crumb") { a(href=list) { "Runs" } (function) }
                div(class="row") { h1(title=whole) { (short) } (copy) span(role="status") { (outcome) } }
            }
        }
    }
}

/// Names of the nodes, as far as they are known.
fn names(nodes: Resource<Page<Node>>) -> BTreeMap<NodeId, String> {
    let nodes = nodes.ready().map(|page| page.items).unwrap_or_default();
    nodes.into_iter().map(|node| (node.id, node.name)).collect()
}

fn parts(here: &Here, run: &Invocation, names: ReadSignal<BTreeMap<NodeId, String>>) -> View {
    let life = life(run);
    let exchange = page::section("Request and response", "", exchange(here, run, names));
    let used = page::section("Used", "", used(run));
    let node = run.node;
    let why = run.placement.clone().map(|kept| {
        let body = View::from_dynamic(move || explanation_view(&kept, &names.get_clone(), node));
        page::section("Why this node", "", body)
    });
    let legend = legend();
    view! {
        section(class="section") { div(class="section-head") { h2 { "Life" } (legend) } (life) }
        (exchange)
        (used)
        (why)
    }
}

/// The bar, its parts in figures, and how far its bill is.
fn life(run: &Invocation) -> View {
    let bar = run_bar(Phases {
        wall_us: run.wall_us,
        ran_us: run.usage.wall_us,
        lane: run.lane,
        outcome: run.outcome,
        settled: run.settled,
        full_us: run.wall_us,
    });
    let platform = format::micros(run.wall_us.saturating_sub(run.usage.wall_us));
    let (ran, total) = (format::micros(run.usage.wall_us), format::micros(run.wall_us));
    let most = run.limits.map(|limits| format!(" of at most {}", format::spaced(limits.timeout))).unwrap_or_default();
    let settled = if run.settled { badge("good", "settled") } else { badge("warn", "settling") };
    let flag = run.flag.map(|flag| {
        let (word, meaning) = (flag.as_str(), flag.meaning());
        view! { p(class="note") { "Flagged " code { (word) } ": " (meaning) "." } }
    });
    view! {
        div(class="run-bar-large") { (bar) }
        dl(class="phases") {
            div { dt { "Queued, placed, started" } dd { (platform) } }
            div { dt { "Ran" } dd { (ran) span(class="soft") { (most) } } }
            div { dt { "In all" } dd { (total) } }
            div { dt { "Bill" } dd { (settled) } }
        }
        (flag)
    }
}

fn fact(name: &'static str, value: Option<View>) -> Option<View> {
    value.map(|value| view! { dt { (name) } dd { (value) } })
}

/// What was asked, what came, and where it took place.
fn exchange(here: &Here, run: &Invocation, names: ReadSignal<BTreeMap<NodeId, String>>) -> View {
    let request = format!("{} {}", run.method, run.path);
    let (tone, word) = outcome_words(run);
    let answer = badge(tone, word);
    let code = fact(
        "Why",
        run.code.map(|code| {
            let (title, help) = (code.title(), code.help());
            view! { (title) ". " span(class="soft") { (help) } }
        }),
    );
    let nodes = here.path("nodes");
    let node = fact(
        "Node",
        run.node.map(|node| {
            let name = View::from_dynamic(move || node_name(node, &names.get_clone()));
            view! { (name) " " a(href=nodes) { "All nodes" } }
        }),
    );
    let job = fact(
        "Job",
        run.job.map(|job| {
            let (href, id) = (here.path(&format!("jobs/{job}")), job.to_string());
            let short = short_id(&id);
            view! { a(class="mono", href=href, title=id) { (short) } }
        }),
    );
    let made_by = fact(
        "Made by",
        run.source.map(|source| {
            let word = source.as_str();
            view! { (word) }
        }),
    );
    let principal = fact(
        "On behalf of",
        run.principal.as_ref().map(|principal| {
            let principal = principal.to_string();
            view! { span(class="mono") { (principal) } }
        }),
    );
    let (received, lane) = (time(run.received), lane_why(run.lane, run.lane_reason));
    view! {
        dl(class="facts") {
            dt { "Request" } dd(class="mono") { (request) }
            dt { "Response" } dd { (answer) }
            (code)
            dt { "Received" } dd { (received) }
            dt { "Lane" } dd { (lane) }
            (node) (job) (made_by) (principal)
        }
    }
}

/// What it used of what it might.
fn used(run: &Invocation) -> View {
    let usage = run.usage;
    let wall = format::micros(usage.wall_us);
    let (cpu, memory) = (cpu_used(run).with_share(), memory_used(run).with_share());
    let fuel = fact(
        "Fuel",
        usage.fuel.map(|fuel| {
            let fuel = format::thousands(fuel);
            view! { (fuel) }
        }),
    );
    let (bytes_in, bytes_out) = (format::bytes(usage.bytes_in.0), format::bytes(usage.bytes_out.0));
    let egress = bytes_used(usage.egress_bytes, run.limits.map(|limits| limits.egress_bytes)).with_share();
    view! {
        dl(class="facts") {
            dt { "Time on the node" } dd { (wall) }
            dt { "CPU" } dd { (cpu) }
            dt { "Peak memory" } dd { (memory) }
            (fuel)
            dt { "Bytes in" } dd { (bytes_in) }
            dt { "Bytes out" } dd { (bytes_out) }
            dt { "Egress" } dd { (egress) }
        }
    }
}

/// What a run wrote, live.
pub(crate) fn output(here: &Here, run: RunId) -> View {
    let account = here.account.clone();
    let lines = Resource::live(move || {
        let account = account.clone();
        async move { calls::run_logs(&account, run).await }
    });
    lines.view(3, |page| log(page, None))
}
