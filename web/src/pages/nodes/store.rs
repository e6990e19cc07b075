//! The store: disks, copies and repair, for the operator alone.

use protocol::api::{StoreDisk, StoreDiskState, StoreLook, StoreStatus};
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::session::{Here, Session};
use crate::ui::page::{self, badge};
use crate::ui::time::time;

const REFRESH_MS: i32 = 15_000;

/// The part of the page; nothing for others.
pub(super) fn store(here: &Here) -> View {
    if !Session::get().is_operator() {
        return view! {};
    }
    let account = here.account.clone();
    let status = Resource::every(
        || REFRESH_MS,
        move || {
            let account = account.clone();
            async move { calls::store::status(&account).await }
        },
    );
    let body = status.view(3, |status| shown(&status));
    page::section("Store", "What is uploaded and kept, and how many copies of it there are.", body)
}

fn shown(status: &StoreStatus) -> View {
    let summary = format::sentence(&status.summary);
    let kept = format!("{} kept, {}", format::many(status.blobs, "blob"), format::bytes(status.bytes.0));
    let doomed = match status.doomed {
        0 => String::new(),
        doomed => format!("; {} to be deleted", format::many(doomed, "blob")),
    };
    let copies = status.last_look.as_ref().map_or_else(|| "Copies have not been looked at yet.".to_owned(), looked);
    let now = status.look.as_ref().map(|look| {
        let words = format!("Looking now: {} of {}.", format::thousands(look.blobs), format::many(look.of, "blob"));
        view! { p(class="hint") { (words) } }
    });
    let rows: Vec<View> = status.disks.iter().map(row).collect();
    view! {
        p { b { (summary) } }
        p(class="soft") { (kept) (doomed) }
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Disk" }
                    th(scope="col") { "State" }
                    th(scope="col", class="number") { "Free" }
                    th(scope="col", class="number spare") { "Of" }
                    th(scope="col", class="number spare") { "Since" }
                }
            }
            tbody { (rows) }
        }
        p(class="hint table-foot") { (copies) }
        (now)
    }
}

fn row(disk: &StoreDisk) -> View {
    let (name, domain, words) = (disk.name.clone(), disk.domain.clone(), disk.words());
    let state = badge(tone(disk.state), words);
    let size = |size: Option<protocol::ByteSize>| size.map_or_else(|| "-".to_owned(), |size| format::bytes(size.0));
    let (free, total) = (size(disk.free), size(disk.total));
    let since = disk.since.map(time);
    view! {
        tr {
            td(data-label="Disk") { span(class="two") { b { (name) } span(class="soft") { (domain) } } }
            td(data-label="State", class="wrap") { (state) }
            td(data-label="Free", class="number") { (free) }
            td(data-label="Of", class="number soft spare") { (total) }
            td(data-label="Since", class="number soft spare") { (since) }
        }
    }
}

fn tone(state: StoreDiskState) -> &'static str {
    match state {
        StoreDiskState::Serving => "good",
        StoreDiskState::Full | StoreDiskState::Draining => "warn",
        StoreDiskState::Failing => "bad",
        StoreDiskState::Drained => "",
    }
}

/// What the last whole look has come to.
fn looked(look: &StoreLook) -> String {
    let at = format::moment(look.ended.unwrap_or(look.began));
    let lost = match look.lost {
        0 => String::new(),
        lost => format!(", {} lost", format::many(lost, "blob")),
    };
    let made = format!("{} made", protocol::words::count(look.copied, "copy"));
    match (look.found, look.fewer) {
        (0, _) => format!("{at}: every blob has as many copies as are wanted."),
        (_, 0) => format!("{at}: {made}, now every blob has as many copies as are wanted."),
        (_, fewer) => format!("{at}: {} with fewer copies than are wanted, {made}{lost}.", format::many(fewer, "blob")),
    }
}
