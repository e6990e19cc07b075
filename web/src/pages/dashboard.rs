//! An account at a glance: its functions, its last runs, the nodes; or the first steps.

use protocol::api::{Function, Invocation, InvocationPage, Node, Page};
use protocol::job::Job;
use protocol::receipt::Outcome;
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::{Load, Resource, placeholder};
use crate::nav;
use crate::pages::functions::function_list;
use crate::pages::jobs::table::jobs_table;
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::page;
use crate::ui::run_bar::legend;
use crate::ui::runs::runs_table;
use crate::ui::trouble::trouble_view;

/// So many of the newest jobs are shown.
const JOBS_SHOWN: u32 = 5;

/// The page.
pub(crate) fn dashboard() -> View {
    let here = Here::get();
    let account = here.account.clone();
    let account_of_jobs = account.clone();
    let functions = {
        let account = account.clone();
        Resource::new(move || {
            let account = account.clone();
            async move { calls::functions(&account).await }
        })
    };
    let runs = {
        let account = account.clone();
        Resource::live(move || {
            let account = account.clone();
            async move { calls::invocations(&account, None).await }
        })
    };
    let nodes = {
        let account = account.clone();
        Resource::live(move || {
            let account = account.clone();
            async move { calls::nodes(&account).await }
        })
    };
    let jobs = Resource::live(move || {
        let account = account_of_jobs.clone();
        async move { calls::jobs::newest(&account, JOBS_SHOWN).await }
    });
    let new = here.path("functions/new");
    let actions = view! { a(class="primary", href=new) { "New function" } };
    let body = functions.view(5, move |list| {
        if list.items.is_empty() { first_steps(&here) } else { filled(&here, list, runs, nodes, jobs) }
    });
    let head = page::head("Dashboard", account, actions);
    view! { (head) (body) }
}

fn filled(
    here: &Here,
    functions: Page<Function>,
    runs: Resource<InvocationPage>,
    nodes: Resource<Page<Node>>,
    jobs: Resource<Page<Job>>,
) -> View {
    let figures = figures(here, &functions, runs, nodes);
    let jobs = jobs_part(here, jobs);
    let list = function_list(here, functions.items.into_iter().take(6).collect());
    let all = here.path("functions");
    let recent = runs_part(here, runs);
    view! {
        (figures)
        section(class="section") {
            div(class="section-head") { h2 { "Functions" } a(href=all) { "All functions" } }
            (list)
        }
        (jobs)
        section(class="section") {
            div(class="section-head") { h2 { "Recent runs" } (legend()) }
            (recent)
        }
    }
}

/// The newest jobs, where there are any.
fn jobs_part(here: &Here, jobs: Resource<Page<Job>>) -> View {
    let there = create_selector(move || jobs.ready().is_some_and(|page| !page.items.is_empty()));
    let here = here.clone();
    View::from_dynamic(move || {
        if !there.get() {
            return view! {};
        }
        let (all, table) = (here.path("jobs"), jobs_table(&here, jobs, false));
        view! {
            section(class="section") {
                div(class="section-head") { h2 { "Jobs" } a(href=all) { "All jobs" } }
                (table)
            }
        }
    })
}

/// The live table of runs, or how to make the first.
pub(crate) fn runs_part(here: &Here, runs: Resource<InvocationPage>) -> View {
    let here = here.clone();
    // Only what kind of view is shown; the table follows the data by itself.
    let stage = create_selector(move || match runs.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(page) => Load::Ready(page.items.is_empty()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(4),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(true) => view! { p(class="nothing") { "No runs yet. Calls appear here as they happen." } },
        Load::Ready(false) => runs_table(&here, runs, true),
    })
}

fn figures(
    here: &Here,
    functions: &Page<Function>,
    runs: Resource<InvocationPage>,
    nodes: Resource<Page<Node>>,
) -> View {
    let count = functions.items.len();
    let functions_href = here.path("functions");
    let nodes_href = here.path("nodes");
    let online = create_memo(move || nodes.ready().map(|page| online(&page.items)));
    let recent = create_memo(move || runs.ready().map(|page| recent(&page.items)));
    view! {
        div(class="figures") {
            a(class="figure", href=functions_href) { span(class="figure-name") { "Functions" } b { (count) } }
            a(class="figure", href=nodes_href) {
                span(class="figure-name") { "Nodes online" }
                b { (online.get_clone().map_or("–".to_owned(), |(count, _)| count.to_string())) }
                span(class="soft") { (online.get_clone().map_or(String::new(), |(_, cores)| format::count(cores, "core"))) }
            }
            div(class="figure") {
                span(class="figure-name") { "Answered" }
                b { (recent.get().and_then(|r| r.answered_percent).map_or("–".to_owned(), |percent| format!("{percent}%"))) }
                span(class="soft") { (recent.get().map_or(String::new(), |r| format!("of the last {}", format::count(r.runs, "run")))) }
            }
            div(class="figure") {
                span(class="figure-name") { "Median run" }
                b { (recent.get().and_then(|r| r.median_us).map_or("–".to_owned(), format::micros)) }
                span(class="soft") { (recent.get().map_or(String::new(), |r| format!("of the last {}", format::count(r.runs, "run")))) }
            }
        }
    }
}

fn online(nodes: &[Node]) -> (usize, usize) {
    let online = nodes.iter().filter(|node| node.online);
    let cores = online.clone().map(|node| usize::try_from(node.cores).unwrap_or(0)).sum();
    (online.count(), cores)
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Recent {
    runs: usize,
    answered_percent: Option<usize>,
    median_us: Option<u64>,
}

/// What the last runs were like. Cancelled ones count apart.
fn recent(runs: &[Invocation]) -> Recent {
    let ended: Vec<&Invocation> = runs.iter().filter(|run| run.outcome != Outcome::Cancelled).collect();
    let answered = ended.iter().filter(|run| run.outcome == Outcome::Succeeded).count();
    let mut walls: Vec<u64> = ended.iter().map(|run| run.wall_us).collect();
    walls.sort_unstable();
    Recent {
        runs: ended.len(),
        answered_percent: (answered * 100).checked_div(ended.len()),
        median_us: walls.get(walls.len() / 2).copied(),
    }
}

/// What a new account shows: the way to the first call, as commands that work.
pub(crate) fn first_steps(here: &Here) -> View {
    let origin = nav::origin();
    let account = here.account.clone();
    let login = code_block(format!("crowdcloud login --url {origin}"), "command");
    let new = code_block("crowdcloud new thumbs --template thumbnail", "command");
    let deploy = code_block(format!("crowdcloud deploy thumbs --account {account}"), "command");
    let call = code_block(
        format!(
            "curl -H \"Authorization: Bearer $(crowdcloud token)\" \\\n  --data-binary @photo.jpg '{origin}/f/{account}/thumbs?width=320' -o small.jpg"
        ),
        "command",
    );
    let upload = here.path("functions/new");
    let nav_upload = upload.clone();
    view! {
        div(class="steps") {
            div(class="steps-head") {
                h2 { "From nothing to a call" }
                p(class="about") {
                    "Four commands, filled in for " b { (account) } ". Or "
                    a(href=nav_upload) { "drop a file" } " here and call it from the page."
                }
            }
            ol {
                li { h3 { "Log in on your machine" } (login) }
                li { h3 { "Make a function from a template" } p(class="soft") { "An image thumbnailer in Rust, ready to build." } (new) }
                li { h3 { "Deploy it" } p(class="soft") { "Prints its URL and a curl that works as pasted." } (deploy) }
                li { h3 { "Call it" } p(class="soft") { "Functions are private: the call carries a key." } (call) }
            }
            a(class="secondary", href=upload) { "Drop a file instead" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Recent, recent};

    #[test]
    fn no_runs_have_no_figures() {
        assert_eq!(recent(&[]), Recent { runs: 0, answered_percent: None, median_us: None });
    }
}
