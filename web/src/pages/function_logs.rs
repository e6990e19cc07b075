//! A function's runs and what they wrote, live.

use sycamore::prelude::*;

use crate::calls;
use crate::load::{Load, Resource, placeholder};
use crate::pages::function::Subject;
use crate::ui::code::code_block;
use crate::ui::log::log;
use crate::ui::page;
use crate::ui::run_bar::legend;
use crate::ui::runs::runs_of_function;
use crate::ui::trouble::trouble_view;

/// The tab.
pub(crate) fn logs(subject: Subject) -> View {
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
    let output = page::section("Output", "What the runs wrote to stdout and stderr, newest last.", output(&subject));
    view! {
        section(class="section") { div(class="section-head") { h2 { "Runs" } (legend()) a(href=all) { "All runs" } } (table) }
        (output)
        p(class="soft as") { "As CLI" }
        (command)
    }
}

/// Lines of all runs; live.
fn output(subject: &Subject) -> View {
    let (account, name) = (subject.here.account.clone(), subject.name.clone());
    let runs = subject.here.path("runs/");
    let lines = Resource::live(move || {
        let (account, name) = (account.clone(), name.clone());
        async move { calls::logs(&account, &name).await }
    });
    lines.view(3, move |page| log(page, Some(runs.as_str())))
}
