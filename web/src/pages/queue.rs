//! One queue: how much is in it, its messages, and those that nobody acknowledged.

mod body;
mod dead;

use protocol::api::Page;
use protocol::queue::{Message, Queue};
use sycamore::prelude::*;

use self::body::{body_cell, size};
use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::nav;
use crate::pages::queues::oldest;
use crate::session::Here;
use crate::state;
use crate::ui::code::{api_curl, code_block};
use crate::ui::copy::id_chip;
use crate::ui::page::{self, badge};
use crate::ui::table::{Column, Table};
use crate::ui::time::{now_ms, time};

/// Messages on a page: their bodies come with them.
const ROWS: u32 = 20;
const REFRESH_MS: i32 = 3_000;
/// The tab of dead letters.
const DEAD: &str = "dead";

/// The queue that the parts are about.
#[derive(Clone)]
struct Subject {
    here: Here,
    name: String,
    queue: Resource<Queue>,
}

impl Subject {
    /// The path of a tab; of the first where it is empty.
    fn path(&self, tab: &str) -> String {
        let path = self.here.path(&format!("queues/{}", self.name));
        if tab.is_empty() { path } else { format!("{path}/{tab}") }
    }
}

/// The page.
pub(crate) fn queue(name: String, tab: ReadSignal<String>) -> View {
    let here = Here::get();
    nav::title(&name);
    let (account, asked) = (here.account.clone(), name.clone());
    let queue = Resource::every(
        || REFRESH_MS,
        move || {
            let (account, name) = (account.clone(), asked.clone());
            async move { calls::queues::show(&account, &name).await }
        },
    );
    let subject = Subject { here, name, queue };
    let list = subject.here.path("queues");
    let title = subject.name.clone();
    let figures = queue.view(1, |queue| figures(&queue));
    let is_dead = create_selector(move || tab.with(|tab| tab == DEAD));
    let (base, dead) = (subject.path(""), subject.path(DEAD));
    let links = vec![(base.clone(), "Messages"), (dead.clone(), "Dead letters")];
    let present = create_memo(move || if is_dead.get() { dead.clone() } else { base.clone() });
    let tabs = page::tabs("Queue", links, move || present.get_clone());
    let body = View::from_dynamic(move || if is_dead.get() { dead::part(&subject) } else { waiting(&subject) });
    view! {
        header(class="head") { div { p(class="crumb") { a(href=list) { "Queues" } } h1 { (title) } } }
        (tabs)
        (figures)
        (body)
    }
}

fn figures(queue: &Queue) -> View {
    let counts = [queue.waiting, queue.hidden, queue.dead].map(format::thousands);
    let [waiting, hidden, dead] = counts;
    let oldest = oldest(queue);
    let lease = format!("{} × {}", queue.deliveries, format::spaced(queue.lease));
    let kept = format::count(queue.days, "day");
    view! {
        dl(class="phases") {
            div { dt { "Waiting" } dd { (waiting) } }
            div { dt { "In flight" } dd { (hidden) } }
            div { dt { "Dead" } dd { (dead) } }
            div { dt { "Oldest" } dd { (oldest) } }
            div { dt { "Leases of a message" } dd { (lease) } }
            div { dt { "Kept" } dd { (kept) } }
        }
    }
}

/// The messages of one kind, a page at a time. Looking leases none.
fn messages(subject: &Subject, dead: bool) -> Resource<Page<Message>> {
    let cursor = state::param(state::CURSOR, "");
    let (account, name) = (subject.here.account.clone(), subject.name.clone());
    Resource::every(
        || REFRESH_MS,
        move || {
            let (account, name, cursor) = (account.clone(), name.clone(), cursor.get_clone());
            async move { calls::queues::messages(&account, &name, dead, ROWS, &cursor).await }
        },
    )
}

/// A row is drawn anew when it has another holder.
type Key = (protocol::MessageId, u32, Option<protocol::Timestamp>);

/// What every table of messages has.
fn columns(list: Resource<Page<Message>>) -> Table<Message, Key> {
    let next = create_selector(move || list.ready().and_then(|page| page.next));
    Table::new("messages", |one: &Message| (one.id, one.deliveries, one.until))
        .column(
            Column::new("Message", |one: &Message| id_chip(&one.id.to_string())).csv(|one| one.id.to_string()).mark(),
        )
        .column(Column::new("Body", |one: &Message| body_cell(&one.body)).class("request").lead())
        .column(Column::new("Size", |one: &Message| size(&one.body).into()).number().spare())
        .column(
            Column::new("Tries", |one: &Message| one.deliveries.into()).number().csv(|one| one.deliveries.to_string()),
        )
        .column(
            Column::new("Age", |one: &Message| time(one.put))
                .number()
                .class("soft")
                .csv(|one| one.put.to_string())
                .figure(),
        )
        .further(next)
}

/// Two rows are of the same message.
fn same(one: &Message, other: &Message) -> bool {
    one.id == other.id
}

/// What waits, and what somebody has.
fn waiting(subject: &Subject) -> View {
    let list = messages(subject, false);
    let (account, name) = (subject.here.account.clone(), subject.name.clone());
    let put = format!("crowdcloud queues put {name} '{{\"order\": 17}}' --account {account}");
    let table = columns(list)
        .column(Column::new("State", state_badge).note())
        .empty(move || {
            page::empty("Nothing waits", "Messages appear here as they come.", code_block(put.clone(), "command"))
        })
        .live(list, |page: Page<Message>| page.items, same);
    let command = code_block(format!("crowdcloud queues messages {name} --account {account}"), "command of the list");
    let curl = code_block(api_curl(&account, "", &format!("/queues/{name}/messages")), "curl command");
    view! {
        (table)
        p(class="hint table-foot") { "The oldest first. Looking at messages leases none." }
        p(class="soft as") { "As CLI" }
        (command)
        p(class="soft as") { "As curl" }
        (curl)
    }
}

/// Whether it can be leased. One that nobody had and that cannot be leased was put for later.
fn state_badge(one: &Message) -> View {
    match one.until.filter(|until| until.0 > now_ms()) {
        None => badge("", "waiting"),
        Some(until) => {
            let (word, until) = (if one.deliveries > 0 { "in flight" } else { "delayed" }, time(until));
            let badge = badge("live-state", word);
            view! { (badge) " " span(class="soft") { (until) } }
        }
    }
}
