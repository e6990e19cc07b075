//! How far the platform trusts a node, what it lacks for more, and what its owner and the operator say for it.

use protocol::api::{ConfirmNode, NodeDetails, Vouch};
use protocol::node::TrustLevel;
use sycamore::prelude::*;

use super::Shown;
use crate::calls;
use crate::format;
use crate::load::Action;
use crate::ui::dialog::{Confirm, confirm_about};
use crate::ui::form::{Text, field, text};
use crate::ui::page::{self, badge};
use crate::ui::time::time;

/// The section.
pub(super) fn trust(shown: &Shown, first: &NodeDetails) -> View {
    let now = shown.now;
    let facts = View::from_dynamic(move || facts(&now.get_clone()));
    let confirm = if shown.owns && first.node.level != Some(TrustLevel::Operator) {
        confirm(shown, first)
    } else {
        view! {}
    };
    let vouch = if shown.operates {
        vouch(shown)
    } else {
        view! {}
    };
    let body = view! { (facts) div(class="row queue-acts") { (confirm) (vouch) } };
    page::section("Trust", "What others' work it gets goes by its checked results, never by what it says.", body)
}

fn level(level: TrustLevel) -> (&'static str, &'static str) {
    match level {
        TrustLevel::New => ("warn", "It gets checks, and this account's own runs."),
        TrustLevel::Proven => ("good", "It gets runs that any node may do."),
        TrustLevel::Verified => ("good", "It gets runs for verified nodes, too."),
        TrustLevel::Operator => ("good", "It is the operator's."),
    }
}

fn facts(details: &NodeDetails) -> View {
    let of_level = details.node.level.map(|of| {
        let (tone, meaning) = level(of);
        let badge = badge(tone, of.as_str());
        view! { dt { "Level" } dd { (badge) " " (meaning) } }
    });
    let missing: Vec<String> =
        details.missing.iter().map(|missing| format!("{}.", format::sentence(&missing.to_string()))).collect();
    let missing = (!missing.is_empty()).then(|| {
        let words = missing.join(" ");
        view! { dt { "For the next level" } dd { (words) } }
    });
    let answered = (details.availability.asked > 0).then(|| {
        let of = &details.availability;
        let words = format!("{} of {}", of.answered, format::count(of.asked, "check"));
        view! { dt { "Answered" } dd { (words) } }
    });
    let lied = details.lied.map(time).map(|at| view! { dt { "Returned a wrong result" } dd { (at) } });
    let vouched = if details.vouched { "yes" } else { "no" };
    let confirmed = match details.confirmed {
        Some(at) => time(at),
        None => view! { "no: versions for own nodes do not come here yet" },
    };
    let confirmed = details.node.own.then(|| view! { dt { "Confirmed" } dd { (confirmed) } });
    view! {
        dl(class="facts") {
            (of_level) (missing) (answered) (lied)
            dt { "The operator vouches" } dd { (vouched) }
            (confirmed)
        }
    }
}

/// What the machine shows is typed, not clicked: so a leaked token's machine is noticed.
fn confirm(shown: &Shown, first: &NodeDetails) -> View {
    let fingerprint = create_signal(String::new());
    let how = Text { name: "fingerprint", code: true, ..Text::default() };
    let about = field("Fingerprint", "What crowdcloud lend shows on the machine.", text(fingerprint, how));
    let name = first.node.name.clone();
    let ask = Confirm {
        trigger: "Confirm the machine",
        class: "secondary",
        title: format!("Is {name} the machine that you mean?"),
        effects: vec!["Versions that are for own nodes only may go there from then on, with their secrets.".to_owned()],
        confirm: "Confirm",
        typed: None,
    };
    let (account, id, data, now) = (shown.account.clone(), shown.id, shown.data, shown.now);
    let button = confirm_about(
        ask,
        about,
        move || fingerprint.set(String::new()),
        move || {
            let account = account.clone();
            let typed = fingerprint.with_untracked(|typed| typed.trim().to_owned());
            let body = ConfirmNode { name: name.clone(), fingerprint: typed };
            async move {
                data.put(Ok(calls::nodes::confirm(&account, id, &body).await?));
                Ok(())
            }
        },
    );
    let open =
        create_selector(move || now.with(|details| details.confirmed.is_none() && details.node.state.is_member()));
    view! { span(hidden=!open.get()) { (button) } }
}

/// For the operator: of this node alone.
fn vouch(shown: &Shown) -> View {
    let (account, id, data, now) = (shown.account.clone(), shown.id, shown.data, shown.now);
    let vouched = create_selector(move || now.with(|details| details.vouched));
    let action = Action::new();
    let press = move |_| {
        let (account, withdraw) = (account.clone(), vouched.get_untracked());
        action.run(async move {
            calls::nodes::vouch(&account, &Vouch { node: Some(id), account: None, withdraw }).await?;
            data.put(calls::nodes::node(&account, id).await);
            Ok(())
        });
    };
    let trouble = action.view();
    view! {
        button(class="secondary", r#type="button", disabled=action.busy.get(), on:click=press) {
            (if vouched.get() { "Vouch no longer" } else { "Vouch for it" })
        }
        (trouble)
    }
}
