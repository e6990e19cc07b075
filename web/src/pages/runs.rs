//! The account's runs, requests and those of jobs. What is listed stands in the URL as the API's own filters.

use protocol::api::InvocationPage;
use protocol::{Lane, RunSource, Timestamp};
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::nav::encode;
use crate::session::Here;
use crate::state;
use crate::ui::code::code_block;
use crate::ui::page;
use crate::ui::run_bar::legend;
use crate::ui::runs::{Shown, kept_since, runs_columns, same};
use crate::ui::table::Filter;

/// Rows on a page.
const ROWS: u32 = 50;
/// The newest page follows by itself; older ones change little.
const NEWEST_REFRESH_MS: i32 = 3_000;
const OLDER_REFRESH_MS: i32 = 30_000;

/// The filters of `GET /invocations`.
const FILTERS: [&str; 9] =
    ["function", "version", "outcome", "status", "lane", "source", "principal", "member", "from"];

const OUTCOMES: [(&str, &str); 6] = [
    ("succeeded", "succeeded"),
    ("failed,timed_out", "failed or timed out"),
    ("failed", "failed"),
    ("timed_out", "timed out"),
    ("platform_failed", "platform failed"),
    ("cancelled", "cancelled"),
];

/// The page.
pub(crate) fn runs() -> View {
    let here = Here::get();
    let values: Vec<(&'static str, Signal<String>)> =
        FILTERS.into_iter().chain(["to"]).map(|name| (name, state::param(name, ""))).collect();
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let cursor = state::param(state::CURSOR, "");
    let account = here.account.clone();
    let asked = values.clone();
    let list: Resource<InvocationPage> = Resource::every(
        move || if cursor.with(String::is_empty) { NEWEST_REFRESH_MS } else { OLDER_REFRESH_MS },
        move || {
            let given = asked.iter().map(|(name, value)| (*name, value.get_clone()));
            let given = given.filter(|(_, value)| !value.is_empty());
            let query: String = given.map(|(name, value)| format!("&{name}={}", encode(&value))).collect();
            let (account, cursor) = (account.clone(), cursor.get_clone());
            async move { calls::usage::runs(&account, &query, &cursor, ROWS).await }
        },
    );
    let next = create_selector(move || list.ready().and_then(|page| page.next));
    let table = runs_columns(&here, list, Shown::Whole)
        .filter(Filter::asked("function", "Function", functions(&here)))
        .filter(Filter::asked("outcome", "Outcome", fixed(&OUTCOMES)))
        .filter(Filter::asked("lane", "Lane", words(&[Lane::Wasm.to_string(), Lane::Vm.to_string()])))
        .filter(Filter::asked("source", "Made by", words(&SOURCES.map(|source| source.as_str().to_owned()))))
        .older(next)
        .live(list, |page: InvocationPage| page.items, same);
    let narrowed: Vec<View> = ["version", "status", "principal", "member", "from", "to"]
        .into_iter()
        .filter_map(|name| Some(narrow(name, value(name)?)))
        .collect();
    let head = page::head("Runs", "Calls and tries of jobs, the newest first.", view! {});
    let command = code_block(format!("crowdcloud invocations list --account {}", here.account), "command");
    view! {
        (head)
        div(class="narrowed-by") { (narrowed) }
        (table)
        (kept_since(list))
        (legend())
        p(class="soft as") { "As CLI" }
        (command)
    }
}

const SOURCES: [RunSource; 5] =
    [RunSource::Call, RunSource::Test, RunSource::Job, RunSource::Schedule, RunSource::Queue];

/// The account's functions, as soon as they are known.
fn functions(here: &Here) -> ReadSignal<Vec<(String, String)>> {
    let account = here.account.clone();
    let list = Resource::new(move || {
        let account = account.clone();
        async move { calls::functions(&account).await }
    });
    create_memo(move || {
        let functions = list.ready().map(|page| page.items).unwrap_or_default();
        functions.into_iter().map(|function| (function.name.to_string(), function.name.to_string())).collect()
    })
}

fn fixed(options: &[(&str, &str)]) -> ReadSignal<Vec<(String, String)>> {
    let options = options.iter().map(|(value, label)| ((*value).to_owned(), (*label).to_owned())).collect();
    *create_signal(options)
}

fn words(words: &[String]) -> ReadSignal<Vec<(String, String)>> {
    *create_signal(words.iter().map(|word| (word.clone(), word.clone())).collect())
}

/// What no menu shows: a period, a version, a status, on whose behalf; each can be let go.
fn narrow(name: &'static str, value: Signal<String>) -> View {
    View::from_dynamic(move || {
        let present = value.get_clone();
        if present.is_empty() {
            return view! {};
        }
        let shown = present.parse::<Timestamp>().map_or(present, format::moment);
        let words = format!("{name} {shown}");
        let label = format!("Show more than {words}");
        view! {
            button(class="secondary small", r#type="button", aria-label=label, on:click=move |_| value.set(String::new())) {
                (words) " " span(aria-hidden="true") { "×" }
            }
        }
    })
}
