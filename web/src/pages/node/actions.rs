//! What an owner does with a node, and what the operator does.

use std::future::Future;

use protocol::Timestamp;
use protocol::api::{NodeDetails, SuspendNode};
use protocol::node::{CapsWish, NodeState, NodeWish, PauseSource, WishedPause};
use sycamore::prelude::*;

use super::Shown;
use crate::api::Result;
use crate::calls;
use crate::load::Action;
use crate::ui::dialog::{Confirm, confirm_about, confirm_while};
use crate::ui::form::{Text, field, select, text};
use crate::ui::time::now_ms;

const HOUR_MS: i64 = 3_600_000;

/// For how long a pause lasts: hours, and words.
const LASTS: [(&str, &str); 5] =
    [("", "until resumed"), ("1", "for 1 hour"), ("2", "for 2 hours"), ("8", "for 8 hours"), ("24", "for a day")];

/// The buttons of the page's head.
pub(super) fn actions(shown: &Shown, first: &NodeDetails) -> View {
    let owner = if shown.owns {
        of_owner(shown)
    } else {
        view! {}
    };
    let operator = if shown.operates {
        of_operator(shown, first)
    } else {
        view! {}
    };
    let may = shown.owns || shown.operates;
    let leave = if may {
        leave(shown, first)
    } else {
        view! {}
    };
    view! { (owner) (operator) (leave) }
}

/// Whether a pause from afar holds; of a node that does not say, whether one is wished for.
fn is_paused_here(detail: &NodeDetails) -> bool {
    match &detail.now {
        Some(status) => status.paused.iter().any(|held| held.by == Some(PauseSource::Portal)),
        None => detail.wish.is_some_and(|wish| wish.pause.is_some_and(|pause| !is_over(pause))),
    }
}

fn is_over(pause: WishedPause) -> bool {
    pause.until.is_some_and(|until| until.0 <= now_ms())
}

/// The pause that a wish for something else keeps.
pub(super) fn pause_kept(detail: &NodeDetails) -> Option<WishedPause> {
    let pause = detail.wish.and_then(|wish| wish.pause)?;
    (is_paused_here(detail) && !is_over(pause)).then_some(pause)
}

/// The caps that are wished for from afar.
pub(super) fn caps_wished(detail: &NodeDetails) -> CapsWish {
    detail.wish.map_or_else(CapsWish::default, |wish| wish.caps)
}

/// Wishes for a pause, or for none; caps stay.
fn ask(shown: &Shown, pause: Option<WishedPause>) -> impl Future<Output = Result<()>> + use<> {
    let (account, id, data) = (shown.account.clone(), shown.id, shown.data);
    let (caps, etag) = shown.now.with_untracked(|detail| (caps_wished(detail), detail.etag.clone()));
    async move {
        let detail = calls::nodes::wish(&account, id, etag.as_deref(), &NodeWish { caps, pause }).await?;
        data.put(Ok(detail));
        Ok(())
    }
}

fn of_owner(shown: &Shown) -> View {
    let now = shown.now;
    let (action, lasts) = (Action::new(), create_signal(String::new()));
    let options = LASTS.map(|(value, label)| (value.to_owned(), label.to_owned())).to_vec();
    let lasts_menu = select("lasts", lasts, options);
    let member = create_selector(move || now.with(|detail| detail.node.state.is_member()));
    let paused = create_selector(move || now.with(is_paused_here));
    let wanted = move |drain: bool| {
        let hours = lasts.with_untracked(|lasts| lasts.parse::<i64>().ok());
        WishedPause { until: hours.map(|hours| Timestamp(now_ms() + hours * HOUR_MS)), since: None, drain }
    };
    let (of_pause, of_drain, of_resume) = (shown.clone(), shown.clone(), shown.clone());
    let pause = move |_| action.run(ask(&of_pause, Some(wanted(false))));
    let drain = move |_| action.run(ask(&of_drain, Some(wanted(true))));
    let resume = move |_| action.run(ask(&of_resume, None));
    let trouble = action.view();
    view! {
        span(class="pause-for", hidden=!member.get() || paused.get()) {
            label { span(class="unseen") { "For how long" } (lasts_menu) }
            button(class="secondary", r#type="button", disabled=action.busy.get(), on:click=pause) { "Pause" }
            button(class="secondary", r#type="button", disabled=action.busy.get(), on:click=drain) { "Drain" }
        }
        span(class="pause-for", hidden=!member.get() || !paused.get()) {
            button(class="primary", r#type="button", disabled=action.busy.get(), on:click=resume) { "Resume" }
        }
        (trouble)
    }
}

/// Ends the node for good.
fn leave(shown: &Shown, first: &NodeDetails) -> View {
    let now = shown.now;
    let there = create_selector(move || now.with(|detail| !detail.node.state.is_gone()));
    let name = first.node.name.clone();
    let question = Confirm {
        trigger: "Revoke",
        class: "danger-quiet",
        title: format!("Revoke {name} for good?"),
        effects: vec![
            "It is cut off within a second, and its software ends.".to_owned(),
            "Jobs that run there begin again elsewhere; calls go to another node where they may be repeated.".to_owned(),
            "To lend the machine again, it joins with a new token. On the machine, crowdcloud lend leave finishes what \
             runs first."
                .to_owned(),
        ],
        confirm: "Revoke",
        typed: Some(name),
    };
    let (account, id, data) = (shown.account.clone(), shown.id, shown.data);
    confirm_while(there, question, move || {
        let account = account.clone();
        async move {
            calls::nodes::revoke(&account, id).await?;
            data.put(calls::nodes::node(&account, id).await);
            Ok(())
        }
    })
}

fn of_operator(shown: &Shown, first: &NodeDetails) -> View {
    let now = shown.now;
    let state = create_selector(move || now.with(|detail| detail.node.state));
    let reason = create_signal(String::new());
    let how = Text { name: "reason", ..Text::default() };
    let about = field("Why", "Its owner reads it.", text(reason, how));
    let question = Confirm {
        trigger: "Suspend",
        class: "secondary",
        title: format!("Suspend {}?", first.node.name),
        effects: vec![
            "It is cut off within a second, and nothing that it says is heard until it is let in again.".to_owned(),
        ],
        confirm: "Suspend",
        typed: None,
    };
    let (account, id, data) = (shown.account.clone(), shown.id, shown.data);
    let suspend = confirm_about(
        question,
        about,
        move || reason.set(String::new()),
        move || {
            let (account, reason) = (account.clone(), reason.get_clone_untracked().trim().to_owned());
            async move {
                calls::nodes::suspend(&account, id, &SuspendNode { reason }).await?;
                data.put(calls::nodes::node(&account, id).await);
                Ok(())
            }
        },
    );
    let (action, account) = (Action::new(), shown.account.clone());
    let let_in = move |_| {
        let account = account.clone();
        action.run(async move {
            calls::nodes::let_in(&account, id).await?;
            data.put(calls::nodes::node(&account, id).await);
            Ok(())
        });
    };
    let trouble = action.view();
    view! {
        span(hidden=!state.get().is_member()) { (suspend) }
        span(hidden=state.get() != NodeState::Suspended) {
            button(class="secondary", r#type="button", disabled=action.busy.get(), on:click=let_in) { "Let in again" }
        }
        (trouble)
    }
}
