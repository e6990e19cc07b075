//! The store: disks, copies and repair, for the operator alone.

mod disks;
mod words;

use protocol::api::StoreStatus;
use sycamore::prelude::*;

use self::words::Line;
use crate::calls;
use crate::load::{Load, Resource, placeholder};
use crate::session::{Here, Session};
use crate::ui::code::code_block;
use crate::ui::page::{self, badge};
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;

const REFRESH_MS: i32 = 15_000;
/// The same, while copies are looked at or a disk is emptied.
const REFRESH_AT_WORK_MS: i32 = 3_000;
const COMMANDS: &str = "crowdcloud store status\ncrowdcloud store check";

/// The part of the page; nothing for others.
pub(super) fn store(here: &Here) -> View {
    if !Session::get().is_operator() {
        return view! {};
    }
    let account = here.account.clone();
    let pause = create_signal(REFRESH_MS);
    let status = Resource::every(
        move || pause.get(),
        move || {
            let account = account.clone();
            async move { calls::store::status(&account).await }
        },
    );
    let at_work = create_selector(move || status.ready().is_some_and(|status| words::is_at_work(&status)));
    create_effect(move || {
        let wanted = if at_work.get() { REFRESH_AT_WORK_MS } else { REFRESH_MS };
        if pause.get_untracked() != wanted {
            pause.set(wanted);
        }
    });
    // Once it is shown, only what changes is drawn anew.
    let stage = create_selector(move || match status.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(_) => Load::Ready(()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    let body = View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(3),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(()) => shown(status),
    });
    page::section("Store", "What is uploaded and kept, and how many copies of it there are.", body)
}

fn shown(status: Resource<StoreStatus>) -> View {
    let verdict = create_selector(move || status.ready().map(|status| words::verdict(&status)));
    let summary = create_selector(move || status.ready().map_or(String::new(), |status| words::summary(&status)));
    let lines = create_selector(move || status.ready().map(|status| words::lines(&status)).unwrap_or_default());
    let facts = View::from_dynamic(move || lines.get_clone().into_iter().map(line).collect::<Vec<View>>());
    let disks = disks::disks(status);
    let commands = code_block(COMMANDS, "commands");
    view! {
        p(role="status") {
            (verdict.get().map(|(tone, word)| badge(tone, word)))
            " "
            b { (summary.get_clone()) }
        }
        dl(class="facts store-facts") { (facts) }
        (disks)
        p(class="soft as") { "As CLI" }
        (commands)
    }
}

fn line(line: Line) -> View {
    let Line { about, state, words, when } = line;
    let state = state.map(|(tone, word)| badge(tone, word));
    let when = when.map(|(how, at)| {
        let at = time(at);
        view! { span(class="soft") { (how) " " (at) } }
    });
    view! { dt { (about) } dd { (state) " " (words) " " (when) } }
}
