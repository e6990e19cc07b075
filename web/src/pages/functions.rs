//! The account's functions.

use protocol::api::{Function, Page};
use protocol::{FunctionId, Timestamp};
use sycamore::prelude::*;

use crate::calls;
use crate::load::{Action, Resource};
use crate::nav;
use crate::pages::dashboard::first_steps;
use crate::session::Here;
use crate::state;
use crate::ui::copy::copy_button;
use crate::ui::lane::{lane_why, limits_words};
use crate::ui::page::{self, badge};
use crate::ui::table::{Column, Filter, Table};
use crate::ui::time::time;

/// The page.
pub(crate) fn functions() -> View {
    let here = Here::get();
    let account = here.account.clone();
    let list = Resource::pages(calls::FUNCTION_PAGES_MAX, move |cursor| {
        let account = account.clone();
        async move { calls::functions_page(&account, &cursor).await }
    });
    let new = here.path("functions/new");
    let actions = view! { a(class="primary", href=new) { "New function" } };
    let restore = Restore { noted: state::param("deleted", ""), action: Action::new(), list };
    let (undo, deleted) = (undo(&here, restore), deleted(&here, restore));
    let empty = create_selector(move || list.ready().is_some_and(|page| page.items.is_empty()));
    let body = View::from_dynamic(move || match empty.get() {
        true => first_steps(&here),
        false => function_table(&here).list(list, |page: Page<Function>| page.items),
    });
    let head = page::head("Functions", "", actions);
    let trouble = restore.action.view();
    view! { (head) (undo) (trouble) (body) (deleted) }
}

/// The way back of what was deleted.
#[derive(Clone, Copy)]
struct Restore {
    /// What was deleted just now, in the URL.
    noted: Signal<String>,
    action: Action,
    list: Resource<Page<Function>>,
}

impl Restore {
    fn button(self, here: &Here, word: &'static str, name: String) -> View {
        let Self { noted, action, list } = self;
        let account = here.account.clone();
        let press = move |_| {
            let (account, name) = (account.clone(), name.clone());
            action.run(async move {
                calls::restore_function(&account, &name).await?;
                list.reload();
                noted.set(String::new());
                Ok(())
            });
        };
        view! { button(class="secondary small", r#type="button", disabled=action.busy.get(), on:click=press) { (word) } }
    }
}

/// What was deleted just now, and the way back.
fn undo(here: &Here, restore: Restore) -> View {
    let here = here.clone();
    View::from_dynamic(move || {
        let name = restore.noted.get_clone();
        if name.is_empty() {
            return view! {};
        }
        let button = restore.button(&here, "Undo", name.clone());
        view! { div(class="note row", role="status") { span { b { (name) } " is deleted. " } (button) } }
    })
}

/// What was deleted before, as long as it is kept.
fn deleted(here: &Here, restore: Restore) -> View {
    let here = here.clone();
    let account = here.account.clone();
    let gone = Resource::new(move || {
        // After the list, and again when that has changed.
        let there = restore.list.ready().is_some();
        let account = account.clone();
        async move {
            if there { calls::deleted_functions(&account).await } else { Ok(Page { items: Vec::new(), next: None }) }
        }
    });
    View::from_dynamic(move || {
        let rows = last_of_each(gone.ready()?.items);
        if rows.is_empty() {
            return None;
        }
        let row = |function: Function| {
            let button = restore.button(&here, "Restore", function.name.to_string());
            let (name, when) = (function.name.to_string(), function.deleted.map(time));
            view! {
                tr {
                    td(data-label="Name") { b { (name) } }
                    td(data-label="Deleted", class="soft") { (when) }
                    td(class="number") { (button) }
                }
            }
        };
        let rows: Vec<View> = rows.into_iter().map(row).collect();
        Some(view! {
            details(class="more deleted") { summary { "Deleted functions" } table(class="rows") { tbody { (rows) } } }
        })
    })
}

/// Of each name the one that was deleted last, which alone can be restored.
fn last_of_each(mut deleted: Vec<Function>) -> Vec<Function> {
    deleted.sort_by_key(|function| std::cmp::Reverse(function.deleted));
    let mut names = std::collections::BTreeSet::new();
    deleted.retain(|function| names.insert(function.name.clone()));
    deleted
}

/// The table of functions.
fn function_table(here: &Here) -> Table<Function, (FunctionId, Timestamp)> {
    let here = here.clone();
    let visibilities = ["private", "public"].map(|word| (word.to_owned(), word.to_owned())).to_vec();
    Table::new("functions", |function: &Function| (function.id, function.updated))
        .filter(Filter::search("q", "Name", |function: &Function, typed| function.name.as_str().contains(typed.trim())))
        .filter(Filter::choice("access", "Who may call", *create_signal(visibilities), |function: &Function, word| {
            function.public == (word == "public")
        }))
        .column(
            Column::new("Name", move |function: &Function| {
                let (href, name) = (here.path(&format!("functions/{}", function.name)), function.name.to_string());
                view! { a(class="strong", href=href) { (name) } }
            })
            .lead()
            .csv(|function| function.name.to_string())
            .sorted("name", |one, other| one.name.as_str().cmp(other.name.as_str())),
        )
        .column(
            Column::new("Live", |function: &Function| match live_words(function) {
                Some(live) => view! { (live) },
                None => view! { span(class="soft") { "nothing yet" } },
            })
            .note()
            .csv(|function| live_words(function).unwrap_or_default()),
        )
        .column(
            Column::new("Lane", |function: &Function| {
                let lane = function.live.as_ref().map(|live| lane_why(live.lane, None));
                view! { (lane) }
            })
            .note()
            .csv(|function| function.live.as_ref().map(|live| live.lane.to_string()).unwrap_or_default()),
        )
        .column(
            Column::new("Limits", |function: &Function| {
                let limits = function.live.as_ref().map_or(String::new(), |live| limits_words(&live.limits));
                view! { (limits) }
            })
            .class("soft")
            .spare(),
        )
        .column(
            Column::new("Who may call", |function: &Function| visibility(function.public))
                .mark()
                .csv(|function| if function.public { "public" } else { "private" }.to_owned()),
        )
        .column(
            Column::new("URL", |function: &Function| {
                let (url, path) = (format!("{}{}", nav::origin(), function.path), function.path.clone());
                let copy = copy_button(url, "URL");
                view! { span(class="line") { code { (path) } (copy) } }
            })
            .spare()
            .csv(|function| format!("{}{}", nav::origin(), function.path)),
        )
        .column(
            Column::new("Changed", |function: &Function| time(function.updated))
                .number()
                .class("soft")
                .figure()
                .csv(|function| function.updated.to_string())
                .sorted("changed", |one, other| other.updated.cmp(&one.updated)),
        )
}

/// Whether anybody may call it, as a badge.
pub(crate) fn visibility(public: bool) -> View {
    if public { badge("warn", "public") } else { badge("", "private") }
}

/// The versions that `live` leads to: `v3`, or `v3 90 · v4 10`.
pub(crate) fn live_words(function: &Function) -> Option<String> {
    let live = function.aliases.iter().find(|alias| alias.name.as_str() == protocol::Reference::LIVE)?;
    Some(match live.shares.as_slice() {
        [only] => format!("v{}", only.version),
        shares => shares.iter().map(|s| format!("v{} {}%", s.version, s.weight)).collect::<Vec<_>>().join(" · "),
    })
}
