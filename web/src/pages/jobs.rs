//! The account's jobs, in three sections: an overview, a form for a new one (`job_new`), and the list.

mod by_function;
pub(crate) mod draft;
pub(crate) mod filter;
mod fit;
pub(crate) mod form;
mod history;
mod list;
pub(crate) mod live;
mod overview;
pub(crate) mod panel;
pub(crate) mod program;
pub(crate) mod same;
#[cfg(test)]
pub(crate) mod sample;
mod select;
pub(crate) mod table;
mod used;

use sycamore::prelude::*;

pub(crate) use self::list::jobs;
pub(crate) use self::overview::overview;

use crate::calls;
use crate::nav;
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::icon;
use crate::ui::page;

/// The head of a section, with the way to the others.
pub(crate) fn head(here: &Here, title: &str, about: &str) -> View {
    head_with(here, title, about, view! {})
}

/// The same, with what can be chosen for the whole section.
fn head_with(here: &Here, title: &str, about: &str, choice: View) -> View {
    let new = here.path("jobs/new");
    let is_new = nav::pathname() == new;
    let button = (!is_new).then(|| view! { a(class="primary", href=new) { "New job" } });
    let head = page::head(title, about, view! { (choice) (button) });
    let sections = vec![
        (here.path("jobs"), "Overview"),
        (here.path("jobs/new"), "Create job"),
        (here.path("jobs/list"), "Job list"),
    ];
    let tabs = page::tabs("Jobs", sections, nav::pathname);
    view! { (head) (tabs) }
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
            p(class="soft") { "Submit one, and wait for its response:" }
            (command)
            p(class="soft") { "Or ask any function to respond later:" }
            (curl)
        }
    });
    let new = here.path("jobs/new");
    let about = "A job is a run that is not waited for. Once it is accepted it is not lost: it waits for a node with room, \
                 is tried again if you say so, and its response and logs are kept.";
    let body = view! { (commands) a(class="primary", href=new) { (icon::icon(icon::PLUS)) "Create the first job" } };
    page::empty("No jobs yet", about, body)
}
