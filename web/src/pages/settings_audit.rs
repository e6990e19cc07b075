//! Who changed what in the account. What is listed stands in the URL as the API's own filters; days stand for times.

use protocol::Timestamp;
use protocol::api::{AuditEntry, Page};
use sycamore::prelude::*;

use crate::calls;
use crate::load::Resource;
use crate::nav::{encode, pathname};
use crate::session::Here;
use crate::state;
use crate::ui::code::code_block;
use crate::ui::page;
use crate::ui::table::{Column, Filter, Table};
use crate::ui::time::time;

const DAY_MS: i64 = 86_400_000;

/// Kinds of changes: the first words of actions.
const KINDS: [&str; 10] =
    ["account", "alias", "function", "invitation", "job", "key", "member", "queue", "trigger", "version"];

/// The tab.
pub(crate) fn audit(here: &Here) -> View {
    let names = ["actor", "action", "subject", "from", "to", state::CURSOR];
    let values = names.map(|name| (name, state::param(name, "")));
    let account = here.account.clone();
    let list: Resource<Page<AuditEntry>> = Resource::new(move || {
        let given = values.iter().filter_map(|(name, value)| asked(name, &value.get_clone()));
        let (account, query) = (account.clone(), given.collect::<String>());
        async move { calls::audit(&account, &query).await }
    });
    let next = create_selector(move || list.ready().and_then(|page| page.next));
    let kinds = KINDS.iter().map(|kind| ((*kind).to_owned(), (*kind).to_owned())).collect();
    let table = Table::new("changes", |entry: &AuditEntry| entry.revision)
        .column(
            Column::new("What", |entry: &AuditEntry| plain(entry.action.clone()))
                .csv(|entry| entry.action.clone())
                .lead(),
        )
        .column(Column::new("Who", |entry: &AuditEntry| plain(who(entry))).csv(who).note())
        .column(Column::new("Subject", subject).csv(|entry| entry.subject.clone()).class("wrap").figure())
        .column(Column::new("When", |entry: &AuditEntry| time(entry.at)).csv(|entry| entry.at.to_string()).mark())
        .filter(Filter::asked("actor", "Who", people(here)))
        .filter(Filter::asked("action", "What", *create_signal(kinds)))
        .filter(Filter::typed("subject", "Subject", "search"))
        .filter(Filter::typed("from", "From", "date"))
        .filter(Filter::typed("to", "To", "date"))
        .older(next)
        .live(list, |page: Page<AuditEntry>| page.items, |one, other| one.revision == other.revision);
    let command = code_block(format!("crowdcloud audit list --account {}", here.account), "command");
    let body = view! {
        (table)
        p(class="soft as") { "As CLI" }
        (command)
    };
    page::section("Audit", "Who changed what, the newest first. Log-ins are their users' own.", body)
}

/// A filter as the API takes it; nothing where it is not set.
fn asked(name: &str, value: &str) -> Option<String> {
    let value = match name {
        _ if value.is_empty() => return None,
        "from" => of_day(value, 0),
        "to" => of_day(value, DAY_MS),
        _ => value.to_owned(),
    };
    Some(format!("&{name}={}", encode(&value)))
}

/// So long after the day's beginning in UTC; what is no day stays what it is.
fn of_day(value: &str, after_ms: i64) -> String {
    let midnight = format!("{value}T00:00:00Z").parse::<Timestamp>();
    midnight.map_or_else(|_| value.to_owned(), |at| Timestamp(at.0.saturating_add(after_ms)).to_string())
}

fn plain(text: String) -> View {
    view! { (text) }
}

fn who(entry: &AuditEntry) -> String {
    entry.actor_name.clone().unwrap_or_else(|| entry.actor.clone())
}

/// A link to all changes of the same thing.
fn subject(entry: &AuditEntry) -> View {
    let (text, href) = (entry.subject.clone(), format!("{}?subject={}", pathname(), encode(&entry.subject)));
    view! { a(class="mono", href=href) { (text) } }
}

/// The members, the keys, and the platform itself, as soon as they are known.
fn people(here: &Here) -> ReadSignal<Vec<(String, String)>> {
    let (of_members, of_keys) = (here.account.clone(), here.account.clone());
    let members = Resource::new(move || {
        let account = of_members.clone();
        async move { calls::members(&account).await }
    });
    let keys = Resource::new(move || {
        let account = of_keys.clone();
        async move { calls::keys(&account).await }
    });
    create_memo(move || {
        let members = members.ready().map(|page| page.items).unwrap_or_default();
        let keys = keys.ready().map(|page| page.items).unwrap_or_default();
        let members = members.into_iter().map(|member| (member.user.to_string(), member.email));
        let keys = keys.into_iter().map(|key| (key.id.to_string(), format!("key {}", key.name)));
        let platform = ("platform".to_owned(), "the platform".to_owned());
        members.chain(keys).chain([platform]).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::asked;

    #[test]
    fn days_are_whole() {
        assert_eq!(asked("from", "").as_deref(), None);
        assert_eq!(asked("from", "2026-11-01").as_deref(), Some("&from=2026%2D11%2D01T00%3A00%3A00Z"));
        assert_eq!(asked("to", "2026-11-30").as_deref(), Some("&to=2026%2D12%2D01T00%3A00%3A00Z"));
        assert_eq!(asked("subject", "a&b").as_deref(), Some("&subject=a%26b"));
    }
}
