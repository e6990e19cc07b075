//! One node: how it is and why, its caps with their use, what it did, and what its owner or the operator does with it.

mod actions;
mod caps;
mod history;
mod trust;

use protocol::api::NodeDetails;
use protocol::node::{HeldPause, NodeState, PauseSource};
use protocol::{NodeId, Timestamp};
use sycamore::prelude::*;

use crate::api::Trouble;
use crate::calls;
use crate::format;
use crate::load::{Load, Resource, placeholder};
use crate::nav;
use crate::pages::nodes::words;
use crate::session::{Here, Session};
use crate::ui::code::code_block;
use crate::ui::copy::{copy_button, id_chip};
use crate::ui::lane::lane_badge;
use crate::ui::page::{self, badge};
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;

/// The page.
pub(crate) fn node(text: &str) -> View {
    let here = Here::get();
    nav::title("Node");
    let Ok(id) = text.parse::<NodeId>() else {
        let trouble = Trouble::here("not_found", format!("{text} is not a node's id."), "Check the link.");
        let (head, trouble) = (page::head("Node", "", view! {}), trouble_view(trouble));
        return view! { (head) (trouble) };
    };
    let account = here.account.clone();
    let data = Resource::live(move || {
        let account = account.clone();
        async move { calls::nodes::node(&account, id).await }
    });
    // What was shown stays where the platform is away for a moment.
    let last = create_signal(None::<NodeDetails>);
    create_effect(move || {
        if let Some(now) = data.ready() {
            last.set(Some(now));
        }
    });
    // Once it is shown, nothing draws the page anew: what is being typed or asked stays.
    let stage = create_selector(move || match (last.with(Option::is_some), data.data.get_clone()) {
        (true, _) => Load::Ready(()),
        (false, Load::Failed(trouble)) => Load::Failed(trouble),
        (false, _) => Load::Waiting,
    });
    View::from_dynamic(move || match stage.get_clone() {
        Load::Failed(trouble) => {
            let (head, trouble) = (page::head("Node", "", view! {}), trouble_view(trouble));
            view! { (head) (trouble) }
        }
        Load::Waiting => placeholder(6),
        Load::Ready(()) => match last.get_clone_untracked() {
            Some(first) => whole(&here, first, data, last),
            None => view! {},
        },
    })
}

/// A node that is shown, and what may be done with it.
#[derive(Clone)]
struct Shown {
    account: String,
    id: NodeId,
    data: Resource<NodeDetails>,
    /// How it is now.
    now: ReadSignal<NodeDetails>,
    /// Whether it is the user's to pause, to lower and to take away.
    owns: bool,
    /// Whether the user is the operator.
    operates: bool,
}

fn whole(here: &Here, first: NodeDetails, data: Resource<NodeDetails>, last: Signal<Option<NodeDetails>>) -> View {
    nav::title(&first.node.name);
    // Of one that is on record no more the platform tells nothing.
    let gone = create_selector(move || data.data.with(|data| matches!(data, Load::Failed(why) if why.status == 404)));
    let now = create_memo({
        let first = first.clone();
        move || {
            let mut now = last.get_clone().unwrap_or_else(|| first.clone());
            if gone.get() {
                (now.node.state, now.now) = (NodeState::Left, None);
            }
            now
        }
    });
    let shown = Shown {
        account: here.account.clone(),
        id: first.node.id,
        data,
        now,
        owns: first.node.own && here.administers(),
        operates: Session::get().is_operator(),
    };
    let away = View::from_dynamic(move || match data.data.get_clone() {
        Load::Failed(trouble) if !gone.get() => trouble_view(trouble),
        _ => view! {},
    });
    let head = head(here, &first, &shown);
    // Of what is no node any more stays who it was, who ended it and when, and what it did.
    let there = create_selector(move || now.with(|detail| !detail.node.state.is_gone()));
    let live = {
        let (shown, first) = (shown.clone(), first.clone());
        View::from_dynamic(move || there.get().then(|| of_member(&shown, &first)))
    };
    let facts = View::from_dynamic(move || facts(&now.get_clone()));
    let history = if here.administers() && first.node.own {
        history::history(&shown)
    } else {
        view! {}
    };
    let (account, owns) = (here.account.clone(), shown.owns);
    let command = View::from_dynamic(move || code_block(commands(&first, &account, owns && there.get()), "commands"));
    view! {
        (head)
        (away)
        (live)
        section(class="section") { div(class="section-head") { h2 { "About it" } } (facts) }
        (history)
        p(class="soft as") { "As CLI" }
        (command)
    }
}

/// What there is to see and to do while it is a node.
fn of_member(shown: &Shown, first: &NodeDetails) -> View {
    let now = shown.now;
    let health = View::from_dynamic(move || health(&now.get_clone()));
    let caps = caps::caps(shown, first);
    let today = View::from_dynamic(move || today(&now.get_clone()));
    let trust = trust::trust(shown, first);
    let (_, meaning) = words::whose(&first.node);
    view! {
        section(class="section") { div(class="section-head") { h2 { "Health" } } (health) }
        (caps)
        (today)
        (trust)
        section(class="section") {
            div(class="section-head") { h2 { "Who can read what runs here" } }
            p { (meaning) " No sandbox changes that; a function's placement says whose machines it trusts." }
        }
    }
}

fn head(here: &Here, first: &NodeDetails, shown: &Shown) -> View {
    let now = shown.now;
    let list = here.path("nodes");
    let (name, copy) = (first.node.name.clone(), copy_button(first.node.id.to_string(), "id"));
    let state = create_selector(move || now.with(|detail| (words::state(&detail.node).0, detail.node.state)));
    let state = View::from_dynamic(move || {
        let (tone, state) = state.get();
        badge(tone, state.as_str())
    });
    let reason = create_selector(move || now.with(why));
    let actions = actions::actions(shown, first);
    view! {
        header(class="head") {
            div {
                p(class="crumb") { a(href=list) { "Nodes" } }
                div(class="row") { h1 { (name) } (copy) span(role="status") { (state) } }
                p(class="about") { (reason.get_clone()) }
            }
            div(class="actions") { (actions) }
        }
    }
}

/// Why it is where it is, and until when.
fn why(detail: &NodeDetails) -> String {
    let node = &detail.node;
    let held = detail.now.as_ref().map(|status| status.paused.as_slice()).unwrap_or_default();
    match node.state {
        NodeState::Suspended => {
            let reason = node.state_reason.as_deref().unwrap_or("no reason is noted");
            format!("The operator has suspended it: {reason}.")
        }
        NodeState::Paused | NodeState::Draining if !held.is_empty() => {
            held.iter().map(held_words).collect::<Vec<_>>().join(" ")
        }
        NodeState::Paused | NodeState::Draining => {
            node.paused.map_or(String::new(), |paused| until(&paused.reason.to_string(), paused.until, ""))
        }
        NodeState::Joining => "It is registered, and has not connected yet.".to_owned(),
        NodeState::Calibrating => "It is being measured, and takes runs of your own account alone.".to_owned(),
        NodeState::Online => "It takes runs.".to_owned(),
        NodeState::Offline => "It does not report. What is wished for here it hears when it is back.".to_owned(),
        NodeState::Left | NodeState::Revoked => {
            let reason = format::sentence(node.state_reason.as_deref().unwrap_or("no reason is noted"));
            let when = detail.since.map_or(String::new(), |since| format!(", {}", format::moment(since)));
            let by = detail.by.as_ref().map_or(String::new(), |by| format!(", by {by}"));
            format!("It is no node any more. {reason}{when}{by}.")
        }
    }
}

fn held_words(held: &HeldPause) -> String {
    let by = match held.by {
        Some(PauseSource::Cli) => ", said on the machine",
        Some(PauseSource::Signal) => ", by a signal on the machine",
        Some(PauseSource::Portal) => ", said from afar",
        None => "",
    };
    until(&held.reason.to_string(), held.until, by)
}

fn until(reason: &str, until: Option<Timestamp>, by: &str) -> String {
    let until = until.map_or(String::new(), |until| format!(" until {}", format::moment(until)));
    format!("{}{until}{by}.", format::sentence(reason))
}

fn health(detail: &NodeDetails) -> View {
    let node = &detail.node;
    let reported = node.state.reports().then(|| {
        let load = format!("{} %", words::percent(node.load));
        let (runs, of) = (node.running, format!("of {}", node.slots));
        view! {
            div { dt { "Load" } dd { (load) } }
            div { dt { "Runs now" } dd { (runs) " " span(class="soft") { (of) } } }
        }
    });
    let memory = words::memory(node);
    let connection = if node.state.reports() { "connected" } else { "not connected" };
    let lanes: Vec<View> = node.lanes.iter().map(|lane| lane_badge(*lane)).collect();
    let vm = words::vm(node.vm.as_ref());
    let seen = match node.last_seen {
        Some(at) => time(at),
        None => view! { "never" },
    };
    view! {
        dl(class="phases") {
            div { dt { "Connection" } dd { (connection) } }
            (reported)
            div { dt { "Memory" } dd { (memory) } }
            div { dt { "Lanes" } dd { (lanes) " " span(class="soft") { (vm) } } }
            div { dt { "Last report" } dd { (seen) } }
        }
    }
}

/// By the node's own count.
fn today(detail: &NodeDetails) -> View {
    let Some(today) = detail.now.as_ref().map(|status| &status.today) else { return view! {} };
    let (runs, given_back) = (format::thousands(today.runs), format::thousands(today.given_back));
    let (cpu, traffic) = (format::micros(today.cpu_us), format::bytes(today.traffic.0));
    let figures = view! {
        dl(class="phases") {
            div { dt { "Runs" } dd { (runs) } }
            div { dt { "Of them given back" } dd { (given_back) } }
            div { dt { "CPU time" } dd { (cpu) } }
            div { dt { "Traffic" } dd { (traffic) } }
        }
    };
    page::section("Today", "As the node counts.", figures)
}

fn facts(detail: &NodeDetails) -> View {
    let node = &detail.node;
    let id = id_chip(&node.id.to_string());
    let (whose, _) = words::whose(node);
    let owner = node.owner.clone().filter(|_| !node.own).map(|owner| format!(" of {owner}"));
    let whose = format!("{whose}{}", owner.unwrap_or_default());
    let machine = format!("{} {}, {}", node.arch, detail.os, format::count(node.cores, "core"));
    let software = format!("crowdcloud {}", detail.software);
    let confined = node.confinement.as_ref().map(ToString::to_string);
    let confined = confined.map(|words| view! { dt { "Confinement" } dd { (words) } });
    let joined = time(detail.joined);
    // Of what is a node other sections tell these.
    let of_gone = |at: Option<Timestamp>| at.filter(|_| node.state.is_gone()).map(time);
    let seen = of_gone(node.last_seen).map(|seen| view! { dt { "Last report" } dd { (seen) } });
    let lied = of_gone(detail.lied).map(|at| view! { dt { "Returned a wrong result" } dd { (at) } });
    let since = detail.since.map(time).map(|since| view! { dt { "In this state since" } dd { (since) } });
    let hours = detail.now.as_ref().map(|status| status.quiet_hours.join("; ")).filter(|hours| !hours.is_empty());
    let hours = hours.unwrap_or_else(|| "none".to_owned());
    let hours = detail.now.is_some().then(|| view! { dt { "Quiet hours" } dd { (hours) } });
    view! {
        dl(class="facts") {
            dt { "Id" } dd { (id) }
            dt { "Whose" } dd { (whose) }
            dt { "Machine" } dd { (machine) }
            dt { "Software" } dd { (software) }
            (confined)
            (hours)
            dt { "Joined" } dd { (joined) }
            (since)
            (seen)
            (lied)
        }
    }
}

fn commands(detail: &NodeDetails, account: &str, owns: bool) -> String {
    let name = format::shell(&detail.node.name);
    let show = format!("crowdcloud nodes show {name} --account {account}");
    if owns { format!("{show}\ncrowdcloud nodes pause {name} --for 2h --account {account}") } else { show }
}

#[cfg(test)]
mod tests {
    use protocol::node::PauseReason;

    use super::*;

    #[test]
    fn a_reason_says_where_it_was_given() {
        let held = HeldPause { reason: PauseReason::ByOwner, until: None, by: Some(PauseSource::Cli) };
        assert_eq!(held_words(&held), "Paused by its owner, said on the machine.");
        let held = HeldPause { reason: PauseReason::OnBattery, until: None, by: None };
        assert_eq!(held_words(&held), "Paused on battery.");
    }
}
