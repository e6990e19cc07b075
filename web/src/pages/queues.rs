//! The account's queues, and how much is in each.

use protocol::api::Page;
use protocol::queue::Queue;
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::session::Here;
use crate::ui::code::{api_curl, code_block};
use crate::ui::page::{self, badge};
use crate::ui::table::{Column, Table};
use crate::ui::time::time;

/// Counts follow by themselves.
const REFRESH_MS: i32 = 3_000;

/// The page.
pub(crate) fn queues() -> View {
    let here = Here::get();
    let account = here.account.clone();
    let list = Resource::every(
        || REFRESH_MS,
        move || {
            let account = account.clone();
            async move { calls::jobs::queues(&account).await }
        },
    );
    let head = page::head("Queues", "Messages that wait for whoever leases them, or for a trigger.", view! {});
    let of_empty = here.account.clone();
    let table = table(&here).empty(move || empty(&of_empty));
    let table = table.live(list, |page: Page<Queue>| page.items, |one, other| one.name == other.name);
    let command = code_block(format!("crowdcloud queues list --account {}", here.account), "command");
    let curl = code_block(api_curl(&here.account, "", "/queues"), "curl command");
    view! {
        (head)
        (table)
        p(class="soft as") { "As CLI" }
        (command)
        p(class="soft as") { "As curl" }
        (curl)
    }
}

/// A row is drawn anew when its figures have changed.
type Key = (protocol::Name, [u64; 3], Option<protocol::Timestamp>);

fn table(here: &Here) -> Table<Queue, Key> {
    let (of_name, of_dead) = (here.clone(), here.clone());
    let name = move |queue: &Queue| {
        let (href, name) = (of_name.path(&format!("queues/{}", queue.name)), queue.name.to_string());
        view! { a(class="strong", href=href) { (name) } }
    };
    let dead = move |queue: &Queue| {
        let count = format::thousands(queue.dead);
        if queue.dead == 0 {
            return view! { (count) };
        }
        let (href, badge) = (of_dead.path(&format!("queues/{}/dead", queue.name)), badge("bad", count));
        view! { a(href=href) { (badge) } }
    };
    Table::new("queues", |queue: &Queue| (queue.name.clone(), [queue.waiting, queue.hidden, queue.dead], queue.oldest))
        .column(Column::new("Queue", name).csv(|queue| queue.name.to_string()).lead())
        .column(
            Column::new("Waiting", |queue: &Queue| format::thousands(queue.waiting).into())
                .number()
                .csv(|queue| queue.waiting.to_string())
                .note()
                .worded()
                .sorted("waiting", |one, other| other.waiting.cmp(&one.waiting)),
        )
        .column(
            Column::new("In flight", |queue: &Queue| format::thousands(queue.hidden).into())
                .number()
                .note()
                .worded()
                .csv(|queue| queue.hidden.to_string()),
        )
        .column(
            Column::new("Dead", dead)
                .number()
                .csv(|queue| queue.dead.to_string())
                .mark()
                .worded()
                .sorted("dead", |one, other| other.dead.cmp(&one.dead)),
        )
        .column(Column::new("Oldest", |queue: &Queue| oldest(queue)).number().class("soft").figure().worded())
        .column(
            Column::new("Leases", |queue: &Queue| {
                let words = format!("{} × {}", queue.deliveries, format::spaced(queue.lease));
                view! { (words) }
            })
            .number()
            .spare(),
        )
}

/// Since when its oldest message waits.
pub(crate) fn oldest(queue: &Queue) -> View {
    match queue.oldest {
        Some(put) => time(put),
        None => view! { "–" },
    }
}

fn empty(account: &str) -> View {
    let words = format!("crowdcloud queues set orders --account {account}\n")
        + &format!("crowdcloud queues put orders '{{\"order\": 17}}' --account {account}");
    page::empty(
        "No queues yet",
        "A queue keeps messages until somebody leases and acknowledges them, or a trigger makes a job of each.",
        code_block(words, "command"),
    )
}
