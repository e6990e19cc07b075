//! The machines that runs go to, and how one adds another. The operator sees those of all lenders.

mod join;
mod store;
mod tokens;
pub(crate) mod words;

use protocol::PlacementClass;
use protocol::api::{Node, Page};
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::{Load, Resource, placeholder};
use crate::session::{Here, Session};
use crate::ui::lane::lane_badge;
use crate::ui::meter::meter;
use crate::ui::page::{self, badge};
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;

/// What the figure of a VM lane means.
const GUEST_SPEED: &str = "Guest speed is measured in a VM when the node starts: turns of a fixed loop of integer work \
    in a millisecond. kvm is the processor itself, tcg translates and is many times slower.";

/// The page.
pub(crate) fn nodes() -> View {
    let here = Here::get();
    let account = here.account.clone();
    let list = Resource::live(move || {
        let account = account.clone();
        async move { calls::nodes::list(&account).await }
    });
    let stage = create_selector(move || match list.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(page) => Load::Ready(page.items.is_empty()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    let of_table = here.clone();
    let body = View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(3),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(true) => page::empty(
            "No node is known",
            "Runs need at least one. The embedded platform brings its own: crowdcloud up starts it.",
            view! {},
        ),
        Load::Ready(false) => {
            let table = table(&of_table, list, is_ours);
            view! { (table) p(class="hint table-foot") { (GUEST_SPEED) } }
        }
    });
    let (lenders, store) = (lenders(&here, list), store::store(&here));
    let (button, panel, unused) = if here.administers() {
        let account = here.account.clone();
        let made = Resource::new(move || {
            let account = account.clone();
            async move { calls::nodes::tokens(&account).await }
        });
        let (button, panel) = join::add(&here, list, made);
        (button, panel, tokens::unused(&here, made))
    } else {
        (view! {}, view! {}, view! {})
    };
    let head = page::head(
        "Nodes",
        "Machines that can take your runs, live. Add your own, and lend what it does not need.",
        button,
    );
    view! { (head) (panel) (body) (unused) (lenders) (store) }
}

/// Whether this account would see it, were its user not the operator.
fn is_ours(node: &Node) -> bool {
    node.own || node.class == PlacementClass::Operator
}

/// Those of other accounts, which the operator alone is told of.
fn lenders(here: &Here, list: Resource<Page<Node>>) -> View {
    if !Session::get().is_operator() {
        return view! {};
    }
    let any = create_selector(move || list.ready().is_some_and(|page| page.items.iter().any(|node| !is_ours(node))));
    let here = here.clone();
    View::from_dynamic(move || {
        if !any.get() {
            return view! {};
        }
        let table = table(&here, list, |node| !is_ours(node));
        page::section(
            "Lenders' machines",
            "Of all accounts. A node's page suspends it, lets it in again and revokes it.",
            table,
        )
    })
}

fn table(here: &Here, list: Resource<Page<Node>>, which: fn(&Node) -> bool) -> View {
    let nodes = create_memo(move || {
        let items = list.ready().map(|page| page.items).unwrap_or_default();
        items.into_iter().filter(which).collect::<Vec<Node>>()
    });
    // Rows keep their order and stay in place; only their figures move.
    let ids = create_selector(move || {
        let mut ids = nodes.with(|nodes| nodes.iter().map(|node| (node.name.clone(), node.id)).collect::<Vec<_>>());
        ids.sort();
        ids
    });
    let here = here.clone();
    view! {
        table(class="rows nodes") {
            thead {
                tr {
                    th(scope="col") { "Node" }
                    th(scope="col") { "State" }
                    th(scope="col") { "Whose" }
                    th(scope="col") { "Lanes" }
                    th(scope="col") { "Load" }
                    th(scope="col", class="spare") { "Memory" }
                    th(scope="col", class="number") { "Runs now" }
                    th(scope="col", class="number spare") { "Seen" }
                }
            }
            tbody {
                Keyed(
                    list=ids,
                    key=|id| id.clone(),
                    view=move |(_, id)| {
                        let last = create_signal(None::<Node>);
                        create_effect(move || {
                            if let Some(node) = nodes.with(|nodes| nodes.iter().find(|node| node.id == id).cloned()) {
                                last.set(Some(node));
                            }
                        });
                        row(&here, last)
                    },
                )
            }
        }
    }
}

fn row(here: &Here, node: Signal<Option<Node>>) -> View {
    let Some(first) = node.get_clone_untracked() else { return view! {} };
    let name = first.name.clone();
    let id = first.id.to_string();
    let href = here.path(&format!("nodes/{id}"));
    let about = format!("{} · {}", first.arch, format::count(first.cores, "core"));
    let (class, meaning) = words::whose(&first);
    let owner = first.owner.clone().filter(|_| !first.own).map(|owner| view! { span(class="soft") { (owner) } });
    let lanes = create_selector(move || node.with(|n| n.as_ref().map(|n| n.lanes.clone()).unwrap_or_default()));
    let lanes = View::from_dynamic(move || lanes.get_clone().into_iter().map(lane_badge).collect::<Vec<View>>());
    let vm = create_selector(move || node.with(|n| n.as_ref().map_or(String::new(), |n| words::vm(n.vm.as_ref()))));
    let confined =
        create_selector(move || node.with(|n| n.as_ref().and_then(|n| words::confinement(n.confinement.as_ref()?))));
    let state = create_selector(move || node.with(|n| n.as_ref().map(words::state)));
    let load = create_selector(move || node.with(|n| n.as_ref().map_or(0, |n| words::percent(n.load))));
    let memory = create_selector(move || node.with(|n| n.as_ref().map_or(String::new(), words::memory)));
    let runs = create_selector(move || {
        node.with(|n| n.as_ref().map_or(String::new(), |n| format!("{} of {}", n.running, n.slots)))
    });
    let seen = create_selector(move || node.with(|n| n.as_ref().and_then(|n| n.last_seen)));
    view! {
        tr {
            td(data-label="Node", title=id) { span(class="two") { a(href=href) { b { (name) } } span(class="soft") { (about) } } }
            td(data-label="State", class="wrap") {
                (state.get_clone().map(|(tone, words)| badge(tone, words)))
                (confined.get_clone().map(|words| badge("warn", words)))
            }
            td(data-label="Whose", title=meaning) { span(class="two") { span { (class) } (owner) } }
            td(data-label="Lanes", class="wrap") { span(class="lanes") { span { (lanes) } span(class="soft") { (vm.get_clone()) } } }
            td(data-label="Load") { (meter(load)) }
            td(data-label="Memory", class="soft wrap spare") { (memory.get_clone()) }
            td(data-label="Runs now", class="number") { (runs.get_clone()) }
            td(data-label="Seen", class="number soft spare") { (seen.get().map(time)) }
        }
    }
}
