//! Adding a machine: the line to paste there, and how far it has come since.

use protocol::api::{CreateNodeToken, Node, NodeToken, Page};
use protocol::node::NodeState;
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::{Action, Resource};
use crate::nav;
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::page::badge;

/// The button that makes a token, and the panel that it opens. `nodes` is the live list.
pub(super) fn add(here: &Here, nodes: Resource<Page<Node>>, tokens: Resource<Page<NodeToken>>) -> (View, View) {
    let made = create_signal(None::<NodeToken>);
    let action = Action::new();
    let account = here.account.clone();
    let press = move |_| {
        let account = account.clone();
        action.run(async move {
            let token = calls::nodes::create_token(&account, &CreateNodeToken { name: None }).await?;
            made.set(Some(token));
            tokens.reload();
            Ok(())
        });
    };
    let button = view! {
        button(class="primary", r#type="button", disabled=action.busy.get(), on:click=press) { "Add a machine" }
    };
    let here = here.clone();
    let panel = View::from_dynamic(move || match made.get_clone() {
        Some(token) => panel(&here, &token, nodes, tokens, made),
        None => view! {},
    });
    let trouble = action.view();
    (button, view! { (trouble) (panel) })
}

fn panel(
    here: &Here,
    token: &NodeToken,
    nodes: Resource<Page<Node>>,
    tokens: Resource<Page<NodeToken>>,
    made: Signal<Option<NodeToken>>,
) -> View {
    let secret = token.token.as_deref().unwrap_or_default();
    let line = code_block(format!("crowdcloud lend --token {secret}"), "command");
    let install = format!("curl -fsSL {}/install.sh | sh -s -- --token {secret}", nav::origin());
    let install = code_block(install, "installing command");
    let until = format::hour(token.expires);
    let id = token.node;
    let state = create_selector(move || {
        let found = nodes.ready().and_then(|page| page.items.into_iter().find(|node| Some(node.id) == id));
        found.map(|node| node.state)
    });
    // A token that was spent is not among the unused ones any more.
    create_effect(move || {
        if state.get().is_some() {
            untrack(|| tokens.reload());
        }
    });
    let href = here.path(&id.map_or_else(|| "nodes".to_owned(), |id| format!("nodes/{id}")));
    let progress = View::from_dynamic(move || progress(state.get(), href.clone()));
    let close = move |_| made.set(None);
    view! {
        section(class="once joining", aria-label="Add a machine") {
            h2 { "Run this line on the machine" }
            (line)
            p { "It works once, until " b { (until) } ", and is shown only now." }
            p { "Where the " code { "crowdcloud" } " program is not there yet, this line fetches this platform's, checks it, and goes on as above:" }
            (install)
            ul(class="effects") {
                li { "It says which account earns, what is lent, and who could read what runs there; then it asks." }
                li { "Functions connect to no other host from it, unless " code { "--egress" } " is added to the line." }
                li { "It makes its keys itself: only their public halves leave it." }
                li { "Once it has joined it is measured, and takes runs. You pause it or take it back within a second, there or here." }
            }
            (progress)
            div(class="row") { button(class="secondary", r#type="button", on:click=close) { "Close" } }
        }
    }
}

/// How far it has come; nowhere before the platform knows it.
fn progress(state: Option<NodeState>, href: String) -> View {
    let (reached, words) = match state {
        None => (0, "Waiting for the machine: this follows by itself."),
        Some(NodeState::Joining) => (1, "It has joined, and connects."),
        Some(NodeState::Calibrating) => (2, "It is being measured. It takes runs of your own account already."),
        Some(NodeState::Online) => (3, "It is online, and takes runs."),
        Some(NodeState::Paused | NodeState::Draining) => (3, "It has joined, and is paused."),
        Some(NodeState::Offline) => (1, "It has joined, and does not report."),
        Some(NodeState::Suspended) => (1, "The operator has suspended it."),
        Some(NodeState::Left | NodeState::Revoked) => (0, "It has left again."),
    };
    let steps: Vec<View> = ["joining", "calibrating", "online"]
        .into_iter()
        .zip(1..)
        .map(|(step, place)| badge(if place <= reached { "good" } else { "" }, step))
        .collect();
    let link = state.is_some().then(|| view! { a(href=href) { "Its page" } });
    view! {
        div(class="chips") { (steps) }
        p(role="status") { (words) " " (link) }
    }
}
