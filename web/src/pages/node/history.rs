//! What became of a node, as the account's audit has it.

use protocol::api::{AuditEntry, Page};
use sycamore::prelude::*;

use super::Shown;
use crate::calls;
use crate::load::Resource;
use crate::ui::page;
use crate::ui::time::time;

/// Entries that are shown.
const SHOWN: usize = 20;

/// The section. It is looked at again when the node's state or its owner's wish changes.
pub(super) fn history(shown: &Shown) -> View {
    let (account, query, now) = (shown.account.clone(), format!("&subject={}", shown.id), shown.now);
    let changes = create_selector(move || now.with(|detail| (detail.node.state, detail.wish)));
    let list: Resource<Page<AuditEntry>> = Resource::new(move || {
        changes.track();
        let (account, query) = (account.clone(), query.clone());
        async move { calls::audit(&account, &query).await }
    });
    let body = list.view(3, |page| {
        let told = page.items.iter().filter_map(|entry| Some((words(&entry.action)?, entry)));
        let rows: Vec<View> = told.take(SHOWN).map(|(what, entry)| row(what, entry)).collect();
        if rows.is_empty() {
            return view! { p(class="nothing") { "Nothing yet." } };
        }
        view! {
            table(class="rows") {
                thead { tr { th(scope="col") { "What" } th(scope="col") { "Who" } th(scope="col", class="number") { "When" } } }
                tbody { (rows) }
            }
        }
    });
    page::section("History", "What its owner and the operator did. The newest first.", body)
}

/// What happened, for people; none for what a node says by itself again and again.
fn words(action: &str) -> Option<&'static str> {
    Some(match action {
        "node.create" => "made",
        "node.register" => "joined",
        "node.calibrated" => "measured, and online",
        "node.caps" => "caps changed from afar",
        "node.pause" => "paused from afar",
        "node.drain" => "drained from afar",
        "node.resume" => "resumed",
        "node.suspend" => "suspended by the operator",
        "node.leave" => "left",
        "node.revoke" => "revoked",
        "node.confirm" => "confirmed by its owner",
        "node.vouch" => "vouched for by the operator",
        "node.vouch.withdraw" => "no longer vouched for",
        "node.new" => "new again",
        "node.proven" => "proven",
        "node.verified" => "verified",
        "node.lied" => "returned a wrong result",
        _ => return None,
    })
}

fn row(what: &'static str, entry: &AuditEntry) -> View {
    let who = entry.actor_name.clone().unwrap_or_else(|| entry.actor.clone());
    let at = time(entry.at);
    view! {
        tr {
            td(data-label="What") { b { (what) } }
            td(data-label="Who", class="wrap soft") { (who) }
            td(data-label="When", class="number") { (at) }
        }
    }
}
