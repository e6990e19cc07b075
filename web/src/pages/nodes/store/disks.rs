//! The disks of the store, one in a row.

use protocol::ByteSize;
use protocol::api::{StoreDisk, StoreStatus};
use sycamore::prelude::*;

use super::words::{self, DiskWords};
use crate::format;
use crate::load::Resource;
use crate::ui::page::badge;
use crate::ui::time::time;

/// What the second line of a disk means.
const DOMAIN: &str = "Below a disk's name stands what fails as a whole: no two copies are put into one such domain.";

const NONE: &str = "No disk is known yet: one is shown once the node or the service that has it has started.";

/// The table. Rows stay in place; only their figures move.
pub(super) fn disks(status: Resource<StoreStatus>) -> View {
    let disks = create_memo(move || status.ready().map(|status| status.disks).unwrap_or_default());
    let names = create_selector(move || {
        disks.with(|disks| disks.iter().map(|disk| disk.name.clone()).collect::<Vec<String>>())
    });
    let any = create_selector(move || names.with(|names| !names.is_empty()));
    View::from_dynamic(move || {
        if any.get() {
            table(disks, names)
        } else {
            view! { p(class="nothing") { (NONE) } }
        }
    })
}

fn table(disks: ReadSignal<Vec<StoreDisk>>, names: ReadSignal<Vec<String>>) -> View {
    view! {
        table(class="rows", aria-label="Disks of the store") {
            thead {
                tr {
                    th(scope="col") { "Disk" }
                    th(scope="col") { "State" }
                    th(scope="col", class="number") { "Free" }
                    th(scope="col", class="number") { "Size" }
                }
            }
            tbody {
                Keyed(
                    list=names,
                    key=|name| name.clone(),
                    view=move |name: String| {
                        let last = create_signal(None::<StoreDisk>);
                        create_effect(move || {
                            let now = disks.with(|disks| disks.iter().find(|disk| disk.name == name).cloned());
                            if now.is_some() {
                                last.set(now);
                            }
                        });
                        row(last)
                    },
                )
            }
        }
        p(class="hint table-foot") { (DOMAIN) }
    }
}

fn row(disk: Signal<Option<StoreDisk>>) -> View {
    let Some(StoreDisk { name, domain, .. }) = disk.get_clone_untracked() else { return view! {} };
    let state = create_selector(move || disk.with(|disk| disk.as_ref().map(words::disk)));
    let free = create_selector(move || size(disk.with(|disk| disk.as_ref().and_then(|disk| disk.free))));
    let total = create_selector(move || size(disk.with(|disk| disk.as_ref().and_then(|disk| disk.total))));
    view! {
        tr {
            td(data-label="Disk") { span(class="two") { b { (name) } span(class="soft") { (domain) } } }
            td(data-label="State", class="wrap") { (state.get_clone().map(told)) }
            td(data-label="Free", class="number") { (free.get_clone()) }
            td(data-label="Size", class="number soft") { (total.get_clone()) }
        }
    }
}

fn size(size: Option<ByteSize>) -> String {
    size.map_or_else(|| "–".to_owned(), |size| format::bytes(size.0))
}

fn told(disk: DiskWords) -> View {
    let DiskWords { tone, word, since, why } = disk;
    let state = badge(tone, word);
    let since = since.map(|at| {
        let at = time(at);
        view! { span(class="soft") { "since " (at) } }
    });
    let why = (!why.is_empty()).then(|| view! { span(class="soft") { (why) } });
    view! { span(class="told") { span { (state) " " (since) } (why) } }
}
