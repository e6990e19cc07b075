//! The account's functions.

use protocol::api::Function;
use sycamore::prelude::*;

use crate::calls;
use crate::load::Resource;
use crate::nav;
use crate::pages::dashboard::first_steps;
use crate::session::Here;
use crate::ui::copy::copy_button;
use crate::ui::form::{self, Text};
use crate::ui::lane::{lane_why, limits_words};
use crate::ui::page::{self, badge};
use crate::ui::time::time;

/// From so many functions on there is a filter.
const FILTER_FROM: usize = 8;

/// The page.
pub(crate) fn functions() -> View {
    let here = Here::get();
    let account = here.account.clone();
    let list = Resource::new(move || {
        let account = account.clone();
        async move { calls::functions(&account).await }
    });
    let new = here.path("functions/new");
    let actions = view! { a(class="primary", href=new) { "New function" } };
    let body =
        list.view(
            6,
            move |page| {
                if page.items.is_empty() { first_steps(&here) } else { filtered(here.clone(), page.items) }
            },
        );
    let head = page::head("Functions", "", actions);
    view! { (head) (body) }
}

fn filtered(here: Here, all: Vec<Function>) -> View {
    let wanted = create_signal(nav::query("q").unwrap_or_default());
    create_effect(move || {
        let wanted = wanted.get_clone();
        nav::set_query("q", (!wanted.is_empty()).then_some(wanted.as_str()));
    });
    let filter = (all.len() >= FILTER_FROM).then(|| {
        let how =
            Text { name: "filter", kind: "search", placeholder: "Filter by name", optional: true, ..Text::default() };
        let input = form::text(wanted, how);
        view! { label(class="filter") { span(class="unseen") { "Filter by name" } (input) } }
    });
    let list = View::from_dynamic(move || {
        let found: Vec<Function> =
            all.iter().filter(|f| wanted.with(|wanted| f.name.as_str().contains(wanted.trim()))).cloned().collect();
        if found.is_empty() {
            view! { p(class="nothing") { "No function has this in its name." } }
        } else {
            function_list(&here, found)
        }
    });
    view! { (filter) (list) }
}

/// The table of functions.
pub(crate) fn function_list(here: &Here, functions: Vec<Function>) -> View {
    let rows: Vec<View> = functions.into_iter().map(|function| row(here, function)).collect();
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Name" }
                    th(scope="col") { "Live" }
                    th(scope="col") { "Lane" }
                    th(scope="col", class="spare") { "Limits" }
                    th(scope="col") { "Who may call" }
                    th(scope="col") { "URL" }
                    th(scope="col", class="number") { "Changed" }
                }
            }
            tbody { (rows) }
        }
    }
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

fn row(here: &Here, function: Function) -> View {
    let href = here.path(&format!("functions/{}", function.name));
    let name = function.name.to_string();
    let live = live_words(&function);
    let (live_class, live) = match live {
        Some(live) => ("", live),
        None => ("soft", "nothing yet".to_owned()),
    };
    let lane = function.live.map(|live| lane_why(live.lane, None));
    let limits = function.live.map_or(String::new(), |live| limits_words(&live.limits));
    let url = format!("{}{}", nav::origin(), function.path);
    let path = function.path.clone();
    let copy = copy_button(url, "URL");
    let updated = time(function.updated);
    let who = visibility(function.public);
    view! {
        tr {
            td(data-label="Name") { a(class="strong", href=href) { (name) } }
            td(data-label="Live", class=live_class) { (live) }
            td(data-label="Lane") { (lane) }
            td(data-label="Limits", class="soft spare") { (limits) }
            td(data-label="Who may call") { (who) }
            td(data-label="URL") { span(class="line") { code { (path) } (copy) } }
            td(data-label="Changed", class="number soft") { (updated) }
        }
    }
}
