//! The machines that runs go to.

use protocol::PlacementClass;
use protocol::api::Node;
use protocol::node::VmLane;
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::{Load, Resource, placeholder};
use crate::session::Here;
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
    let account = here.account;
    let list = Resource::live(move || {
        let account = account.clone();
        async move { calls::nodes(&account).await }
    });
    let stage = create_selector(move || match list.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(page) => Load::Ready(page.items.is_empty()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    let body = View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(3),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(true) => page::empty(
            "No node is known",
            "Runs need at least one. The embedded platform brings its own: crowdcloud up starts it.",
            view! {},
        ),
        Load::Ready(false) => {
            let table = table(list);
            view! { (table) p(class="hint table-foot") { (GUEST_SPEED) } }
        }
    });
    let head = page::head("Nodes", "Machines that can take your runs, live.", view! {});
    view! { (head) (body) }
}

fn table(list: Resource<protocol::api::Page<Node>>) -> View {
    let nodes = create_memo(move || list.ready().map(|page| page.items).unwrap_or_default());
    // Rows keep their order and stay in place; only their figures move.
    let ids = create_selector(move || {
        let mut ids = nodes.with(|nodes| nodes.iter().map(|node| (node.name.clone(), node.id)).collect::<Vec<_>>());
        ids.sort();
        ids
    });
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Node" }
                    th(scope="col") { "State" }
                    th(scope="col") { "Whose" }
                    th(scope="col") { "Lanes" }
                    th(scope="col") { "Load" }
                    th(scope="col") { "Memory" }
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
                        row(last)
                    },
                )
            }
        }
    }
}

fn class_words(class: PlacementClass) -> (&'static str, &'static str) {
    match class {
        PlacementClass::Own => ("own", "A node of this account."),
        PlacementClass::Operator => ("operator", "The operator's own machine."),
        PlacementClass::Verified => ("verified", "A lender's machine that the operator has verified."),
        PlacementClass::Any => ("lender", "A lender's machine: whoever has root there can read what runs on it."),
    }
}

/// What a node's VM lane is made of, or why there is none.
fn vm_words(vm: Option<&VmLane>) -> String {
    match vm {
        None => String::new(),
        Some(VmLane::Starting) => "vm: looks which accelerator works".to_owned(),
        Some(VmLane::Missing { why }) => format!("no vm: {why}"),
        Some(VmLane::Ready { accelerator, turns_per_ms }) => {
            format!("{accelerator} · {} turns/ms", format::thousands(u64::from(*turns_per_ms)))
        }
    }
}

fn row(node: Signal<Option<Node>>) -> View {
    let Some(first) = node.get_clone_untracked() else { return view! {} };
    let name = first.name.clone();
    let id = first.id.to_string();
    let about = format!("{} · {}", first.arch, format::count(first.cores, "core"));
    let (class, meaning) = class_words(first.class);
    let lanes = create_selector(move || node.with(|n| n.as_ref().map(|n| n.lanes.clone()).unwrap_or_default()));
    let lanes = View::from_dynamic(move || lanes.get_clone().into_iter().map(lane_badge).collect::<Vec<View>>());
    let vm = create_selector(move || node.with(|n| n.as_ref().map_or(String::new(), |n| vm_words(n.vm.as_ref()))));
    let state = create_selector(move || node.with(|n| n.as_ref().map_or((false, false), |n| (n.online, n.draining))));
    let load = create_selector(move || node.with(|n| n.as_ref().map_or(0, |n| percent(n.load))));
    let memory = create_selector(move || {
        node.with(|n| {
            n.as_ref().map_or(String::new(), |n| {
                format!("{} free of {}", format::bytes(n.memory_free.0), format::bytes(n.memory.0))
            })
        })
    });
    let runs = create_selector(move || {
        node.with(|n| n.as_ref().map_or(String::new(), |n| format!("{} of {}", n.running, n.slots)))
    });
    let seen = create_selector(move || node.with(|n| n.as_ref().and_then(|n| n.last_seen)));
    view! {
        tr {
            td(data-label="Node", title=id) { span(class="two") { b { (name) } span(class="soft") { (about) } } }
            td(data-label="State") {
                (match state.get() {
                    (false, _) => badge("bad", "offline"),
                    (true, true) => badge("warn", "draining"),
                    (true, false) => badge("good", "online"),
                })
            }
            td(data-label="Whose", title=meaning) { (class) }
            td(data-label="Lanes", class="wrap") { span(class="lanes") { span { (lanes) } span(class="soft") { (vm.get_clone()) } } }
            td(data-label="Load") { (meter(load)) }
            td(data-label="Memory", class="soft wrap") { (memory.get_clone()) }
            td(data-label="Runs now", class="number") { (runs.get_clone()) }
            td(data-label="Seen", class="number soft spare") { (seen.get().map(time)) }
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage, clamped")]
fn percent(load: f32) -> u32 {
    (load * 100.0).round().clamp(0.0, 100.0) as u32
}
