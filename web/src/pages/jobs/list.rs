//! The list of jobs, live; what is shown of them stands in the URL.

use protocol::JobId;
use protocol::job::{JobSort, JobState};
use sycamore::prelude::*;

use super::filter::{ENDED, Filter, OPEN, WENT_WRONG, state_list};
use super::select::{Selected, bar};
use super::{empty, head, live, table};
use crate::api::Trouble;
use crate::calls;
use crate::load::{Action, Resource};
use crate::nav;
use crate::session::Here;
use crate::state;
use crate::ui::copy::short_id;
use crate::ui::form::{self, Text};
use crate::ui::job_bar::{job_legend, state_words};

/// The page.
pub(crate) fn jobs() -> View {
    let here = Here::get();
    let filter = Filter::of_url();
    let list = live::list(here.account.clone(), filter);
    let selected = Selected::new();
    let older = create_selector(move || list.ready().and_then(|page| page.next));
    let of_empty = here.clone();
    let table = table::whole_table(&here, list, selected).older(older).empty(move || nothing(&of_empty, filter));
    let table = table::live(table, list);
    let there = create_selector(move || list.ready().is_some_and(|page| !page.items.is_empty()));
    let bar = bar(&here, list, selected);
    let head = head(&here, "Job list", "Durable runs: queued, tried again, kept with their response.");
    let filters = filters(&here, filter);
    view! {
        (head)
        (filters)
        div(class="list-line", hidden=!there.get()) { (bar) (job_legend(None)) }
        div(class="jobs") { (table) }
    }
}

/// What stands in place of the table: it is told apart why there is nothing.
fn nothing(here: &Here, filter: ReadSignal<Filter>) -> View {
    let here = here.clone();
    View::from_dynamic(move || {
        let path = nav::pathname();
        if filter.with(Filter::is_some) {
            view! { p(class="nothing") { "No job is like that. " a(href=path) { "Show all" } "." } }
        } else if filter.with(|filter| filter.cursor.is_some()) {
            view! { p(class="nothing") { "There are no older ones. " a(href=path) { "The newest" } "." } }
        } else {
            empty(&here)
        }
    })
}

/// Which states the menu offers together.
const TOGETHER: &[(&str, &[JobState])] = &[("active", OPEN), ("completed", ENDED), ("went wrong", WENT_WRONG)];

fn state_options() -> Vec<(String, String)> {
    let mut options = vec![(String::new(), "all".to_owned())];
    options.extend(TOGETHER.iter().map(|(words, states)| (state_list(states), (*words).to_owned())));
    options.extend(JobState::ALL.map(|state| (state.to_string(), state_words(state).to_owned())));
    options
}

/// In which orders the database has all pages.
const ORDERS: [(&str, &str); 4] = [
    ("", "newest first"),
    ("submitted", "oldest first"),
    ("-ended", "last ended first"),
    ("ended", "first ended first"),
];

/// A menu that also offers what stands in the URL already.
fn menu(name: &'static str, value: Signal<String>, mut options: Vec<(String, String)>) -> View {
    let present = value.get_clone_untracked();
    if options.iter().all(|(known, _)| *known != present) {
        options.push((present.clone(), present.replace(',', ", ").replace('_', " ")));
    }
    form::select(name, value, options)
}

/// What is listed. Each choice is a place of its own.
fn filters(here: &Here, filter: ReadSignal<Filter>) -> View {
    let states = menu("state", state::param("state", ""), state_options());
    let function = state::param("function", "");
    let account = here.account.clone();
    let known = Resource::new(move || {
        let account = account.clone();
        async move { calls::functions(&account).await }
    });
    let functions = View::from_dynamic(move || {
        let names = known.ready().map(|page| page.items).unwrap_or_default();
        let mut options = vec![(String::new(), "all".to_owned())];
        options.extend(names.iter().map(|function| (function.name.to_string(), function.name.to_string())));
        menu("function", function, options)
    });
    let orders = ORDERS.map(|(word, words)| (word.to_owned(), words.to_owned())).to_vec();
    let order = menu("sort", state::param("sort", ""), orders);
    let search = search(here);
    let more = View::from_dynamic(move || narrowed(&filter.get_clone()));
    view! {
        div(class="filters") {
            label(class="field") { span(class="field-label") { "State" } (states) }
            label(class="field") { span(class="field-label") { "Function" } (functions) }
            label(class="field") { span(class="field-label") { "Order" } (order) }
            (search)
            (more)
        }
    }
}

/// What was searched for.
#[derive(Debug, PartialEq, Eq)]
enum Sought {
    Nothing,
    Job(JobId),
    Label(String),
}

fn sought(text: &str) -> Result<Sought, Trouble> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Sought::Nothing);
    }
    if let Ok(job) = text.parse() {
        return Ok(Sought::Job(job));
    }
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok(Sought::Label(format!("{}={}", name.trim(), value.trim())))
        }
        _ => {
            let cause = format!("{text} is neither a label nor a job's id.");
            Err(Trouble::of_input("label", cause, "Write name=value, or paste an id."))
        }
    }
}

/// By a label, or straight to a job. `/` on the keyboard leads here.
fn search(here: &Here) -> View {
    let text = state::param("label", "");
    let typed = create_signal(text.get_clone_untracked());
    create_effect(move || typed.set(text.get_clone()));
    let action = Action::new();
    let here = here.clone();
    let go = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        match sought(&typed.get_clone_untracked()) {
            Ok(Sought::Nothing) => text.set(String::new()),
            Ok(Sought::Job(job)) => nav::go(&here.path(&format!("jobs/{job}"))),
            Ok(Sought::Label(label)) => text.set(label),
            Err(trouble) => return action.trouble.set(Some(trouble)),
        }
        action.trouble.set(None);
    };
    let wrong = Some(action.is_about(&["label"]));
    let how = Text {
        name: "label",
        kind: "search",
        placeholder: "batch=7",
        optional: true,
        code: true,
        wrong,
        ..Text::default()
    };
    view! {
        form(class="search field-part", on:submit=go) {
            (form::field("Label or id", "", form::text(typed, how)))
            (action.beside(&["label"]))
        }
    }
}

/// What no menu shows; each can be let go.
fn narrowed(filter: &Filter) -> View {
    let path = nav::pathname();
    let without = |change: fn(&mut Filter)| {
        let mut filter = Filter { cursor: None, ..filter.clone() };
        change(&mut filter);
        filter.href(&path)
    };
    let parts = [
        filter
            .array
            .map(|array| (format!("array {}", short_id(&array.to_string())), without(|filter| filter.array = None))),
        filter.version.map(|version| (format!("version v{version}"), without(|filter| filter.version = None))),
        filter.ended_from.map(|at| (format!("ended from {}", words(at)), without(|filter| filter.ended_from = None))),
        filter.ended_to.map(|at| (format!("ended before {}", words(at)), without(|filter| filter.ended_to = None))),
        filter.sort.by_end().then(|| ("ended jobs".to_owned(), without(|filter| filter.sort = JobSort::default()))),
    ];
    let parts: Vec<View> = parts.into_iter().flatten().map(|(words, href)| narrow(words, href)).collect();
    parts.into()
}

fn words(at: protocol::Timestamp) -> String {
    crate::format::moment(at)
}

fn narrow(words: String, without: String) -> View {
    let label = format!("Show more than {words}");
    view! {
        a(class="secondary small narrowed", href=without, aria-label=label) {
            (words) " " span(aria-hidden="true") { "×" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ORDERS, Sought, sought, state_options};
    use protocol::job::{JobSort, JobState};

    #[test]
    fn labels_and_ids_are_told_apart() {
        let id = "job_0199a0b1c2d37e4f8a9b0c1d2e3f4a5b";
        assert_eq!(sought("  "), Ok(Sought::Nothing));
        assert_eq!(sought(id), Ok(Sought::Job(id.parse().unwrap())));
        assert_eq!(sought(" a = b=c "), Ok(Sought::Label("a=b=c".to_owned())));
        for wrong in ["nightly", "=x", "job_1"] {
            assert!(sought(wrong).unwrap_err().is_about(&["label"]), "{wrong}");
        }
    }

    #[test]
    fn every_order_of_the_api_can_be_chosen() {
        for sort in JobSort::ALL {
            let word = if sort == JobSort::default() { "" } else { sort.as_str() };
            assert!(ORDERS.iter().any(|(known, _)| *known == word), "{sort}");
        }
    }

    #[test]
    fn states_can_be_chosen_together() {
        let options = state_options();
        assert_eq!(options.len(), 4 + JobState::ALL.len());
        assert!(options.contains(&("failed,timed_out,dead".to_owned(), "went wrong".to_owned())));
    }
}
