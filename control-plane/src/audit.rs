//! The audit, as an account's admins read it: who changed what, and when. Whatever is asked for, a page looks at a bounded
//! number of rows. What is too old goes.

use std::collections::BTreeSet;
use std::str::FromStr;

use protocol::api::{AuditEntry, Page, Role};
use protocol::{AccountId, Code, KeyId, Timestamp, UserId, text};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde::Deserialize;

use crate::config::Config;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::audit;
use crate::db::{Actor, Db, loops};
use crate::error::{Result, refuse_field};
use crate::identity::caller::Caller;
use crate::identity::{keys, members};
use crate::paging::{Paging, cursor};

/// Rows that one look of a page that searches reads.
const LOOK_ROWS: u64 = 1_000;
/// Looks of a page; then it may be short, and says where to go on.
const LOOKS_MAX: usize = 5;
/// Rows that one statement deletes.
const PRUNE_ROWS: u64 = 2_000;
/// The last moment that there is.
const END: Timestamp = Timestamp(i64::MAX);

/// Which changes. A page that searches (by anything but `from` and `to`) may be short, with `next` set.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only those of this one: a user (`user_...`, or a member's e-mail address), a key (`key_...`, or its name), or
    /// `platform`.
    #[serde(default)]
    actor: Option<String>,
    /// Only these, such as `function.create`, or all of a kind, such as `function`.
    #[serde(default)]
    action: Option<String>,
    /// Only those of this: an id or a name, as the audit has it.
    #[serde(default)]
    subject: Option<String>,
    /// Only those at this time or later (RFC 3339).
    #[serde(default)]
    from: Option<Timestamp>,
    /// Only those before this time (RFC 3339).
    #[serde(default)]
    to: Option<Timestamp>,
}

/// What of a query no index answers.
struct Wanted<'a> {
    actors: Option<Vec<String>>,
    action: Option<&'a str>,
    subject: Option<&'a str>,
}

impl Wanted<'_> {
    fn is_everything(&self) -> bool {
        self.actors.is_none() && self.action.is_none() && self.subject.is_none()
    }

    fn fits(&self, row: &audit::Model) -> bool {
        let of_kind = |action: &str| row.action.strip_prefix(action).is_some_and(|rest| rest.starts_with('.'));
        self.actors.as_ref().is_none_or(|actors| actors.contains(&row.actor))
            && self.action.is_none_or(|action| row.action == action || of_kind(action))
            && self.subject.is_none_or(|subject| row.target == subject)
    }
}

/// The place of a row in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(Timestamp, i64);

impl Place {
    fn of(row: &audit::Model) -> Self {
        Self(row.at.0, row.revision)
    }

    fn cursor(self) -> String {
        let Self(at, revision) = self;
        cursor(&format!("{}.{revision}", at.0))
    }
}

impl FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (at, revision) = text.split_once('.').unwrap_or_default();
        Ok(Self(Timestamp(at.parse()?), revision.parse()?))
    }
}

/// `GET /audit`: the account's changes, the newest first. What users do outside of an account is in none's list.
pub(crate) async fn list(db: &Db, caller: &Caller, query: &AuditQuery, paging: &Paging) -> Result<Page<AuditEntry>> {
    let account = caller.require_role(Role::Admin)?;
    let actors = match &query.actor {
        Some(actor) => Some(actors(db, account, actor).await?),
        None => None,
    };
    let wanted = Wanted { actors, action: query.action.as_deref(), subject: query.subject.as_deref() };
    let period = (query.from.unwrap_or(Timestamp(0)), query.to.unwrap_or(END));
    let rows_of_look = if wanted.is_everything() { paging.fetch() } else { LOOK_ROWS };
    let limit = usize::try_from(paging.limit()).unwrap_or(usize::MAX);
    let mut looked = paging.after::<Place>()?;
    let (mut found, mut more) = (Vec::new(), true);
    for _ in 0..LOOKS_MAX {
        let after = looked.map(|Place(at, revision)| (at, revision));
        let rows = loops::audit_page(account, period, after, rows_of_look).all(db.read()).await?;
        more = u64::try_from(rows.len()).is_ok_and(|count| count == rows_of_look);
        looked = rows.last().map(Place::of).or(looked);
        found.extend(rows.into_iter().filter(|row| wanted.fits(row)));
        if !more || found.len() > limit {
            break;
        }
    }
    let next = match found.len() > limit {
        true => {
            found.truncate(limit);
            found.last().map(Place::of)
        }
        false => looked.filter(|_| more),
    };
    Ok(Page { items: entries(db, found).await?, next: next.map(Place::cursor) })
}

/// Those who are called so: an id is one, a key's name may be several, and a member's address is the user.
async fn actors(db: &Db, account: AccountId, asked: &str) -> Result<Vec<String>> {
    text::check("actor", asked)?;
    let platform = Actor::platform().0;
    if asked == platform {
        return Ok(vec![platform]);
    }
    let user = asked.parse::<UserId>().map(|id| id.to_string());
    if let Ok(id) = user.or_else(|_| asked.parse::<KeyId>().map(|id| id.to_string())) {
        return Ok(vec![id]);
    }
    let mut found: Vec<String> = keys::called(db, account, asked).await?.iter().map(ToString::to_string).collect();
    found.extend(members::called(db, account, asked).await?.into_iter().map(|user| user.to_string()));
    if found.is_empty() {
        let detail = "`actor` is an id (`user_...`, `key_...`), `platform`, the name of one of the account's keys, or a \
                      member's address.";
        return Err(refuse_field(Code::InvalidRequest, "actor", detail));
    }
    Ok(found)
}

/// As the API shows them.
async fn entries(db: &Db, rows: Vec<audit::Model>) -> Result<Vec<AuditEntry>> {
    let of_users: BTreeSet<Col<UserId>> = rows.iter().filter_map(|row| row.actor.parse().ok()).map(Col).collect();
    let of_keys: BTreeSet<KeyId> = rows.iter().filter_map(|row| row.actor.parse().ok()).collect();
    let emails = members::emails(db, of_users.into_iter()).await?;
    let known = keys::known(db, of_keys).await?;
    let name = |actor: &str| match actor.parse::<UserId>() {
        Ok(user) => emails.get(&Col(user)).cloned(),
        Err(_) => known.get(&actor.parse::<KeyId>().ok()?).map(|key| key.name.clone()),
    };
    let entry = |row: audit::Model| AuditEntry {
        revision: unsigned(row.revision),
        at: row.at.0,
        actor_name: name(&row.actor),
        actor: row.actor,
        action: row.action,
        subject: row.target,
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// The address or the key's name of one who has changed something; none of others than users and keys.
pub(crate) async fn named(db: &Db, actor: &str) -> Result<Option<String>> {
    if let Ok(user) = actor.parse::<UserId>() {
        return Ok(members::emails(db, std::iter::once(Col(user))).await?.remove(&Col(user)));
    }
    let Ok(key) = actor.parse::<KeyId>() else { return Ok(None) };
    Ok(keys::known(db, BTreeSet::from([key])).await?.remove(&key).map(|known| known.name))
}

/// Forgets what is too old.
pub(crate) async fn prune(db: &Db, config: &Config, now: Timestamp) -> Result<()> {
    let before = Timestamp(now.0.saturating_sub(i64::from(config.audit_days) * 86_400_000));
    loop {
        let old: Vec<i64> = loops::audit_too_old(before, PRUNE_ROWS).into_tuple().all(db.read()).await?;
        if old.is_empty() {
            return Ok(());
        }
        audit::Entity::delete_many().filter(audit::Column::Revision.is_in(old)).exec(db.write()).await?;
    }
}
