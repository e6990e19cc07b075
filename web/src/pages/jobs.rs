//! The account's jobs, live; what is shown of them stands in the URL.

pub(crate) mod draft;
pub(crate) mod field;
pub(crate) mod filter;
pub(crate) mod form;
pub(crate) mod live;
pub(crate) mod same;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod table;

use protocol::api::Page;
use protocol::job::{Job, JobState};
use sycamore::prelude::*;

use self::filter::Filter;
use crate::calls;
use crate::load::{Load, Resource, placeholder};
use crate::nav;
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::copy::short_id;
use crate::ui::form::select;
use crate::ui::icon;
use crate::ui::job_bar::{job_legend, state_words};
use crate::ui::page;
use crate::ui::trouble::trouble_view;

/// Counts by state, throughput, waiting time, what is slow and what fails.
pub(crate) fn overview() -> View {
    jobs()
}

/// The list.
pub(crate) fn jobs() -> View {
    let here = Here::get();
    let filter = Filter::of_url();
    let list = live::list(here.account.clone(), filter);
    let new = here.path("jobs/new");
    let actions = view! { a(class="primary", href=new) { "New job" } };
    let head = page::head("Jobs", "Durable runs: queued, tried again, kept with their answer.", actions);
    let filters = filters(&here, filter);
    let stage = create_selector(move || match list.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(page) => Load::Ready(page.items.is_empty()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    let body = View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(6),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(true) if filter.with(Filter::is_some) => {
            view! { p(class="nothing") { "No job is like that. " a(href=nav::pathname()) { "Show all" } "." } }
        }
        Load::Ready(true) if filter.with(|filter| filter.cursor.is_some()) => {
            view! { p(class="nothing") { "There are no older ones. " a(href=nav::pathname()) { "The newest" } "." } }
        }
        Load::Ready(true) => empty(&here),
        Load::Ready(false) => {
            let table = table::jobs_table(&here, list, true);
            let pages = pages(filter, list);
            view! { (table) (pages) }
        }
    });
    view! { (head) (filters) (body) }
}

/// What is listed. Each choice is a place of its own.
fn filters(here: &Here, filter: ReadSignal<Filter>) -> View {
    let state = chosen(
        |filter| filter.state.map(|state| state.to_string()).unwrap_or_default(),
        filter,
        |filter, state| {
            filter.state = state.parse().ok();
        },
    );
    let mut states = vec![(String::new(), "all".to_owned())];
    states.extend(JobState::ALL.map(|state| (state.to_string(), state_words(state).to_owned())));
    let function = chosen(
        |filter| filter.function.clone().unwrap_or_default(),
        filter,
        |filter, name| {
            filter.function = (!name.is_empty()).then_some(name);
        },
    );
    let account = here.account.clone();
    let known = Resource::new(move || {
        let account = account.clone();
        async move { calls::functions(&account).await }
    });
    let functions = View::from_dynamic(move || {
        let mut names: Vec<String> =
            known.ready().map(|page| page.items.iter().map(|f| f.name.to_string()).collect()).unwrap_or_default();
        // Also one that was deleted may be asked for.
        names.extend(function.get_clone_untracked().split_whitespace().map(str::to_owned));
        names.sort();
        names.dedup();
        let mut options = vec![(String::new(), "all".to_owned())];
        options.extend(names.into_iter().map(|name| (name.clone(), name)));
        select("function", function, options)
    });
    let states = select("state", state, states);
    let more = View::from_dynamic(move || narrowed(&filter.get_clone()));
    view! {
        div(class="filters") {
            label(class="field") { span(class="field-label") { "State" } (states) }
            label(class="field") { span(class="field-label") { "Function" } (functions) }
            (more)
            span(class="filters-end") { (job_legend(None)) }
        }
    }
}

/// A menu's value, tied to the URL both ways.
fn chosen(get: fn(&Filter) -> String, filter: ReadSignal<Filter>, set: fn(&mut Filter, String)) -> Signal<String> {
    let of_url = create_selector(move || filter.with(get));
    let value = create_signal(of_url.get_clone_untracked());
    create_effect(move || {
        let url = of_url.get_clone();
        if value.with_untracked(|value| *value != url) {
            value.set(url);
        }
    });
    create_effect(on(value, move || {
        let value = value.get_clone_untracked();
        if of_url.with_untracked(|url| *url != value) {
            let mut filter = Filter { cursor: None, ..filter.get_clone_untracked() };
            set(&mut filter, value);
            let href = filter.href();
            sycamore::futures::spawn_local_scoped(async move { nav::replace(&href) });
        }
    }));
    value
}

/// What no menu shows: a label, an array; each can be let go.
fn narrowed(filter: &Filter) -> View {
    let without_label = Filter { label: None, cursor: None, ..filter.clone() }.href();
    let without_array = Filter { array: None, cursor: None, ..filter.clone() }.href();
    let label = filter.label.clone().map(|label| narrow(format!("label {label}"), without_label));
    let array = filter.array.map(|array| narrow(format!("array {}", short_id(&array.to_string())), without_array));
    view! { (label) (array) }
}

fn narrow(words: String, without: String) -> View {
    let label = format!("Show more than {words}");
    view! { a(class="secondary small narrowed", href=without, aria-label=label) { (words) " " span(aria-hidden="true") { "×" } } }
}

/// To older ones, and back.
fn pages(filter: ReadSignal<Filter>, list: Resource<Page<Job>>) -> View {
    let older = create_selector(move || list.ready().and_then(|page| page.next));
    let newest = View::from_dynamic(move || {
        let filter = filter.get_clone();
        filter.cursor.is_some().then(|| {
            let href = Filter { cursor: None, ..filter }.href();
            view! { a(class="secondary small", href=href) { "The newest" } }
        })
    });
    let older = View::from_dynamic(move || {
        older.get_clone().map(|cursor| {
            let href = Filter { cursor: Some(cursor), ..filter.get_clone() }.href();
            view! { a(class="secondary small", href=href) { "Older" } }
        })
    });
    view! { nav(class="pages", aria-label="Pages") { (newest) (older) } }
}

/// What a job is, and how to make the first one.
fn empty(here: &Here) -> View {
    let account = &here.account;
    let command = format!("crowdcloud jobs submit NAME / -d 'hello' --retries 2 --wait --account {account}");
    let origin = nav::origin();
    let curl = format!(
        "curl -i -H \"Authorization: Bearer $(crowdcloud token)\" -H 'Prefer: respond-async' \\\n  \
         -d 'hello' {origin}/f/{account}/NAME/"
    );
    // The commands name a function that is there, as soon as it is known.
    let name = create_signal(None::<String>);
    let nothing = create_signal(false);
    let asked = account.clone();
    sycamore::futures::spawn_local_scoped(async move {
        if let Ok(functions) = calls::functions(&asked).await {
            let called = |f: &protocol::api::Function| f.live.is_some().then(|| f.name.to_string());
            name.set(functions.items.iter().find_map(called));
            nothing.set(name.with_untracked(Option::is_none));
        }
    });
    let first = here.path("functions/new");
    let commands = View::from_dynamic(move || {
        if nothing.get() {
            let first = first.clone();
            return view! { p { "It runs a function, and there is none yet: " a(href=first) { "deploy one first" } "." } };
        }
        let filled = |text: &str| text.replace("NAME", &name.get_clone().unwrap_or_else(|| "NAME".to_owned()));
        let (command, curl) = (code_block(filled(&command), "command"), code_block(filled(&curl), "curl command"));
        view! {
            p(class="soft") { "Submit one, and wait for its answer:" }
            (command)
            p(class="soft") { "Or ask any function to answer later:" }
            (curl)
        }
    });
    let new = here.path("jobs/new");
    let about = "A job is a run that is not waited for. Once it is accepted it is not lost: it waits for a node with room, \
                 is tried again if you say so, and its answer and logs are kept.";
    let body = view! { (commands) a(class="primary", href=new) { (icon::icon(icon::PLUS)) "New job" } };
    page::empty("No jobs yet", about, body)
}
