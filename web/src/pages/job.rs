//! One job: its life so far, what it used, what it answered and wrote, and why it is where it is.

mod output;
mod steps;
mod why;

use std::collections::BTreeMap;

use protocol::job::Job;
use protocol::{JobId, NodeId};
use sycamore::prelude::*;

use crate::api::Trouble;
use crate::calls;
use crate::format;
use crate::load::{Action, Load, Resource, placeholder};
use crate::nav;
use crate::pages::jobs::live;
use crate::pages::jobs::table::{state_badge, ticking, tries};
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::copy::{copy_button, id_chip, short_id};
use crate::ui::dialog::{Confirm, confirm_while};
use crate::ui::job_bar::{Part, job_bar, job_legend, life, sum_us};
use crate::ui::lane::{job_cpu, job_memory};
use crate::ui::page;
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;
use crate::ui::why::node_name;

/// The page.
pub(crate) fn job(text: &str) -> View {
    let here = Here::get();
    nav::title(&short_id(text));
    let Ok(id) = text.parse::<JobId>() else {
        let trouble = Trouble::here("not_found", format!("{text} is not a job's id."), "Check the link.");
        let (head, trouble) = (page::head("Job", "", view! {}), trouble_view(trouble));
        return view! { (head) (trouble) };
    };
    let job = live::one(here.account.clone(), id);
    // What was shown stays where the platform is away for a moment.
    let last = create_signal(None::<Job>);
    create_effect(move || {
        if let Some(now) = job.ready() {
            last.set(Some(now));
        }
    });
    // Once it is shown, nothing draws the page anew: a question that is being asked stays.
    let stage = create_selector(move || match (last.with(Option::is_some), job.data.get_clone()) {
        (true, _) => Load::Ready(()),
        (false, Load::Failed(trouble)) => Load::Failed(trouble),
        (false, _) => Load::Waiting,
    });
    View::from_dynamic(move || match stage.get_clone() {
        Load::Failed(trouble) => {
            let (head, trouble) = (page::head("Job", "", view! {}), trouble_view(trouble));
            view! { (head) (trouble) }
        }
        Load::Waiting => placeholder(6),
        Load::Ready(()) => match last.get_clone_untracked() {
            Some(first) => whole(&here, &first, job, last),
            None => view! {},
        },
    })
}

fn whole(here: &Here, first: &Job, job: Resource<Job>, last: Signal<Option<Job>>) -> View {
    let now = create_memo({
        let first = first.clone();
        move || last.get_clone().unwrap_or_else(|| first.clone())
    });
    let why = why::asked(here, now);
    let lane = why::lane(why, now);
    let away = View::from_dynamic(move || match job.data.get_clone() {
        Load::Failed(trouble) => trouble_view(trouble),
        _ => view! {},
    });
    let head = head(here, first, job, now);
    let moment = ticking(move || !now.with_untracked(|job| job.state.ended()));
    let bar = View::from_dynamic(move || {
        let job = now.get_clone();
        let spans = life(&job, moment.get());
        job_bar(&spans, job.state, lane.get())
    });
    let phases = View::from_dynamic(move || phases(&now.get_clone(), moment.get()));
    let legend = View::from_dynamic(move || job_legend(lane.get()));
    let names = why::names(why);
    let of_facts = here.clone();
    let facts = View::from_dynamic(move || facts(&of_facts, &now.get_clone(), &names.get_clone()));
    let steps = steps::steps(here, now, names);
    let output = output::output(here, now);
    let logs = output::logs(here, now);
    let why = why::part(why, now);
    let cli = first.id;
    let account = here.account.clone();
    let command = code_block(
        format!("crowdcloud jobs wait {cli} --account {account}\ncrowdcloud jobs output {cli} --account {account}"),
        "commands",
    );
    view! {
        (head)
        (away)
        section(class="section") {
            div(class="section-head") { h2 { "Life" } (legend) }
            div(class="run-bar-large") { (bar) }
            (phases)
            (steps)
        }
        (output)
        (logs)
        (why)
        section(class="section") { div(class="section-head") { h2 { "About it" } } (facts) }
        p(class="soft as") { "As CLI" }
        (command)
    }
}

fn head(here: &Here, first: &Job, job: Resource<Job>, now: ReadSignal<Job>) -> View {
    let list = here.path("jobs");
    let whole_id = first.id.to_string();
    let short = short_id(&whole_id);
    let copy = copy_button(whole_id.clone(), "id");
    let state = View::from_dynamic(move || state_badge(&now.get_clone()));
    let reason = create_selector(move || now.with(|job| job.reason.clone()));
    let function = here.path(&format!("functions/{}", first.function));
    let name = first.function.to_string();
    let version = format!(" v{}", first.version);
    let actions = actions(here, job, now);
    view! {
        header(class="head") {
            div {
                p(class="crumb") { a(href=list) { "Jobs" } " · " a(href=function) { (name) } (version) }
                div(class="row") { h1(title=whole_id) { (short) } (copy) span(role="status") { (state) } }
                p(class="about") { (reason.get_clone()) }
            }
            div(class="actions") { (actions) }
        }
    }
}

/// Cancel, or another try.
fn actions(here: &Here, job: Resource<Job>, now: ReadSignal<Job>) -> View {
    let id = now.with_untracked(|job| job.id);
    let open = create_selector(move || now.with(|job| !job.state.ended() && !job.cancelling));
    let ask = Confirm {
        trigger: "Cancel the job",
        class: "danger-quiet",
        title: "Cancel this job?".to_owned(),
        effects: vec![
            "One that waits ends at once; one that runs is stopped on its node, half done.".to_owned(),
            "It can be tried again later.".to_owned(),
        ],
        confirm: "Cancel it",
        typed: None,
    };
    let account = here.account.clone();
    let cancel = confirm_while(open, ask, move || {
        let account = account.clone();
        async move {
            let changed = calls::jobs::cancel(&account, id).await?;
            live::put_newer(job, changed);
            Ok(())
        }
    });
    let others = others(here, job, now);
    view! { (cancel) (others) }
}

/// What can be done beside cancelling it.
fn others(here: &Here, job: Resource<Job>, now: ReadSignal<Job>) -> View {
    let may = create_selector(move || now.with(|job| (job.state, job.cancelling)));
    let (account, here) = (here.account.clone(), here.clone());
    let retry = Action::new();
    View::from_dynamic(move || {
        let (state, cancelling) = may.get();
        let id = now.with_untracked(|job| job.id);
        if !state.ended() {
            return match cancelling {
                true => view! { button(class="secondary", r#type="button", disabled=true) { "Cancelling…" } },
                false => view! {},
            };
        }
        let again = here.path(&format!("jobs/new?function={}", now.with_untracked(|job| job.function.to_string())));
        let account = account.clone();
        let try_again = state.may_become(protocol::job::JobState::Queued).then(|| {
            let press = move |_| {
                let account = account.clone();
                retry.run(async move {
                    let changed = calls::jobs::retry(&account, id).await?;
                    live::put_newer(job, changed);
                    Ok(())
                });
            };
            view! { button(class="primary", r#type="button", disabled=retry.busy.get(), on:click=press) { "Try again" } }
        });
        let trouble = retry.view();
        view! { (trouble) a(class="secondary", href=again) { "New job" } (try_again) }
    })
}

/// How long it did what.
fn phases(job: &Job, now_ms: i64) -> View {
    let spans = life(job, now_ms);
    let told = |parts: &[Part]| match spans.iter().any(|span| parts.contains(&span.part)) {
        true => format::micros(sum_us(&spans, parts)),
        false => "–".to_owned(),
    };
    let (waited, placed) = (told(&[Part::Waited]), told(&[Part::Placed]));
    let ran = told(&[Part::Ran, Part::Failed, Part::Cancelled]);
    let all = told(&Part::ALL);
    let (tries, limit) = (tries(job), format::spaced(job.limits.timeout));
    let lost = (job.losses > 0).then(|| view! { " " span(class="soft") { "+ " (job.losses) " lost by the platform" } });
    view! {
        dl(class="phases") {
            div { dt { "Waited" } dd { (waited) } }
            div { dt { "Placed" } dd { (placed) } }
            div { dt { "Ran" } dd { (ran) " " span(class="soft") { "of at most " (limit) " a try" } } }
            div { dt { "In all" } dd { (all) } }
            div { dt { "Tries" } dd { (tries) (lost) } }
        }
    }
}

fn fact(name: &'static str, value: Option<View>) -> Option<View> {
    value.map(|value| view! { dt { (name) } dd { (value) } })
}

fn facts(here: &Here, job: &Job, names: &BTreeMap<NodeId, String>) -> View {
    let function = here.path(&format!("functions/{}", job.function));
    let (name, version) = (job.function.to_string(), format!(" v{}", job.version));
    let request = format!("{} {}", job.method, job.path);
    let (cpu, memory) = (job_cpu(job).with_share(), job_memory(job).with_share());
    let nodes = here.path("nodes");
    let node = job.node.map(|node| {
        let name = node_name(node, names);
        view! { a(href=nodes) { (name) } }
    });
    let run = job.run.map(|run| {
        let href = here.path(&format!("runs/{run}"));
        let chip = id_chip(&run.to_string());
        view! { a(href=href) { "Run and bill" } " " (chip) }
    });
    let array = job.array.map(|array| {
        let href = here.path(&format!("jobs/list?array={array}"));
        let place = job.index.map_or(String::new(), |index| format!("#{index} of "));
        view! { (place) a(href=href) { "an array" } }
    });
    let labels = (!job.labels.is_empty()).then(|| {
        let links = job.labels.iter().map(|(name, value)| {
            let label = format!("{name}={value}");
            let href = here.path(&format!("jobs/list?label={}", nav::encode(&label)));
            view! { a(class="badge", href=href) { (label) } " " }
        });
        View::from(links.collect::<Vec<View>>())
    });
    let retries = (job.retries > 0).then(|| {
        let words = format!("{}, the first after {}, each pause twice the one before", job.retries, job.backoff);
        view! { (words) }
    });
    let priority = (job.priority != 0).then(|| view! { (job.priority) });
    let webhook = job.webhook.as_ref().map(webhook);
    let sizes = format!("{} in · {} out", format::bytes(job.input_size.0), format::bytes(job.output_size.0));
    let (node, run, array) = (fact("Node", node), fact("Run", run), fact("Array", array));
    let (labels, retries, priority) = (fact("Labels", labels), fact("Retries", retries), fact("Priority", priority));
    let webhook = fact("Webhook", webhook);
    let not_before = fact("Not before", job.not_before.map(time));
    let due = fact("Next try", job.due.filter(|_| !job.state.ended()).map(time));
    let ended = fact("Ended", job.ended.map(time));
    let created = time(job.created);
    view! {
        dl(class="facts") {
            dt { "Function" } dd { a(href=function) { (name) } (version) }
            dt { "Request" } dd(class="mono") { (request) }
            dt { "CPU" } dd { (cpu) }
            dt { "Memory" } dd { (memory) }
            dt { "Bytes" } dd { (sizes) }
            (run) (node) (array) (labels) (retries) (priority)
            dt { "Submitted" } dd { (created) }
            (not_before) (due) (ended) (webhook)
        }
    }
}

fn webhook(webhook: &protocol::job::Webhook) -> View {
    let url = webhook.url.clone();
    let how = match (&webhook.delivered, &webhook.error) {
        (Some(at), _) => {
            let at = time(*at);
            view! { "told " (at) }
        }
        (None, Some(error)) => {
            let words = format!("not told; tried {}: {error}", format::count(webhook.tries, "time"));
            view! { (words) }
        }
        (None, None) => view! { "not told yet" },
    };
    view! { code { (url) } " " span(class="soft") { (how) } }
}
