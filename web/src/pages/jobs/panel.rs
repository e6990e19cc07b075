//! Beside a job that is being written: where it could run, what to expect of it, and the same as curl and as CLI.

use protocol::api::Node;
use protocol::job::Job;
use protocol::{Lane, Limits};
use sycamore::prelude::*;

use super::draft::Draft;
use super::filter::{ENDED, Filter};
use super::fit::{Fit, fit, lane};
use super::form::Known;
use super::history::{Typical, typical};
use super::program::Program;
use super::same::same;
use crate::calls;
use crate::load::Resource;
use crate::session::Here;
use crate::ui::lane::{lane_badge, limits_words};

/// The account's nodes, as they are now.
pub(crate) fn live_nodes(here: &Here) -> Resource<Vec<Node>> {
    let account = here.account.clone();
    Resource::live(move || {
        let account = account.clone();
        async move { Ok(calls::nodes::list(&account).await?.items) }
    })
}

/// The most that a live node lends: `up to 8 CPUs and 15.5 GiB`; tracked.
pub(crate) fn most(nodes: Resource<Vec<Node>>) -> Option<String> {
    fit(&nodes.ready()?, Lane::Wasm, &Limits::default()).most_words()
}

/// What a try may use as the form stands, and the lane; none before the program is known.
fn asked(draft: Draft, program: Program, known: Known) -> Option<(Lane, Limits)> {
    if program.is_file() {
        let limits = draft.limits.written().over(Limits::default());
        return program.lane(&limits).map(|(lane, _)| (lane, limits));
    }
    let live = known.function(draft)?.live?;
    let limits = draft.limits.written().over(live.limits);
    Some((lane(&live, &limits), limits))
}

/// The panel.
pub(crate) fn panel(here: &Here, draft: Draft, program: Program, known: Known, nodes: Resource<Vec<Node>>) -> View {
    let asked = create_selector(move || asked(draft, program, known));
    let fitting = create_selector(move || {
        let (lane, limits) = asked.get()?;
        Some(fit(&nodes.ready()?, lane, &limits))
    });
    let room = View::from_dynamic(move || match (asked.get(), fitting.get_clone()) {
        (Some((lane, limits)), Some(fit)) => room_view(lane, &limits, &fit),
        (None, Some(_)) if program.is_file() => view! { p(class="hint") { "Not known before the file is." } },
        (None, Some(_)) => view! { p(class="hint") { "The function has no live version yet." } },
        _ => view! { p(class="hint") { "Looking at the nodes…" } },
    });
    let history = history(here, draft, program);
    let expected = View::from_dynamic(move || {
        let words = match history.ready() {
            None => String::new(),
            Some(None) => "No job of this function has run yet.".to_owned(),
            Some(Some(typical)) => typical.words(),
        };
        view! { p { (words) } }
    });
    let same = same(program, here.account.clone());
    let found = program.found();
    view! {
        (found)
        section { h2 { "Where it could run" } (room) }
        section { h2 { "What to expect" } (expected) }
        section { h2 { "The same, elsewhere" } (same) }
    }
}

fn room_view(lane: Lane, limits: &Limits, fit: &Fit) -> View {
    let tone = if fit.now > 0 { "good-text" } else { "warn-text" };
    let (words, asked, badge) = (fit.words(), limits_words(limits), lane_badge(lane));
    let others: Vec<View> = fit.others().into_iter().map(|why| view! { li { (why) } }).collect();
    let most = fit.most_words().map(|most| view! { p(class="hint") { "A live node lends " (most) "." } });
    view! {
        p(role="status") { b(class=tone) { (words) } }
        p(class="soft panel-asked") { (badge) " " (asked) }
        ul(class="refused") { (others) }
        (most)
    }
}

/// What the function's last jobs took.
fn history(here: &Here, draft: Draft, program: Program) -> Resource<Option<Typical>> {
    let account = here.account.clone();
    Resource::new(move || {
        let account = account.clone();
        let function = if program.is_file() { String::new() } else { draft.function.get_clone() };
        async move {
            if function.is_empty() {
                return Ok(None);
            }
            let filter = Filter { function: Some(function), ..Filter::of_states(ENDED) };
            let jobs: Vec<Job> = calls::jobs::list(&account, &filter.query()).await?.items;
            Ok(typical(&jobs))
        }
    })
}
