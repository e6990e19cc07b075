//! What a group of usage is, as programs and people are told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::api::{Statuses, UsageBy};
use protocol::{FunctionId, KeyId, Lane, RunPrincipal, RunSource, Timestamp, UserId};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryResult};

use super::every::Every;
use super::figures::Figures;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::functions;
use crate::error::Result;
use crate::identity::keys::{self, KnownKey};
use crate::identity::members::emails;

/// Sums, by the beginning of a time, where they are told by one, and by what else the runs have in common.
pub(super) type Groups = BTreeMap<(Option<Timestamp>, Group), Figures>;

/// What the runs of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Nothing but the time.
    All,
    /// Rare values, or rare values of a function.
    Other(Option<FunctionId>),
    /// It is not known, or not of this function.
    Unknown(Option<FunctionId>),
    Function(FunctionId),
    Version(FunctionId, i32),
    Lane(Lane),
    Principal(RunPrincipal),
    Source(RunSource),
    /// The first digit of the status, 1 to 5; 0 where there was none.
    Status(i32),
}

impl Group {
    /// The columns that tell them apart.
    pub(super) const fn columns(by: UsageBy) -> &'static [&'static str] {
        match by {
            UsageBy::Function => &["function_id"],
            UsageBy::Version => &["function_id", "version_number", "folded"],
            UsageBy::Lane => &["lane", "folded"],
            UsageBy::Principal | UsageBy::Member => &["principal", "folded"],
            UsageBy::Source => &["source", "folded"],
            UsageBy::Status => &["status", "folded"],
            UsageBy::Minute | UsageBy::Hour | UsageBy::Day | UsageBy::Month => &[],
        }
    }

    /// What these columns of a row say.
    pub(super) fn read(by: UsageBy, row: &QueryResult) -> Result<Self, DbErr> {
        let function = || Ok::<_, DbErr>(row.try_get::<Option<Col<FunctionId>>>("", "function_id")?.map(|id| id.0));
        let known = match by {
            UsageBy::Minute | UsageBy::Hour | UsageBy::Day | UsageBy::Month => return Ok(Self::All),
            UsageBy::Function => return Ok(function()?.map_or(Self::Other(None), Self::Function)),
            UsageBy::Version => {
                let number: Option<i32> = row.try_get("", "version_number")?;
                function()?.zip(number).map(|(function, number)| Self::Version(function, number))
            }
            UsageBy::Lane => row.try_get::<Option<Col<Lane>>>("", "lane")?.map(|lane| Self::Lane(lane.0)),
            UsageBy::Principal | UsageBy::Member => {
                let principal: Option<Col<RunPrincipal>> = row.try_get("", "principal")?;
                principal.map(|principal| Self::Principal(principal.0))
            }
            UsageBy::Source => {
                row.try_get::<Option<Col<RunSource>>>("", "source")?.map(|source| Self::Source(source.0))
            }
            UsageBy::Status => {
                let class: Option<i32> = row.try_get("", "status")?;
                class.map(|class| if (0..=9).contains(&class) { Self::Status(class) } else { Self::Other(None) })
            }
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let of = if by == UsageBy::Version { function()? } else { None };
        let folded: bool = row.try_get("", "folded")?;
        Ok(if folded { Self::Other(of) } else { Self::Unknown(of) })
    }

    fn function(&self) -> Option<FunctionId> {
        match self {
            Self::Function(function) | Self::Version(function, _) => Some(*function),
            Self::Other(function) | Self::Unknown(function) => *function,
            _ => None,
        }
    }
}

/// Groups of principals as groups of members: what ran for a key is its user's.
pub(super) async fn by_member(app: &App, groups: Groups) -> Result<Groups> {
    let owners = keys_of(app, &groups).await?;
    let mut members = Groups::new();
    for ((at, group), figures) in groups {
        let member = match &group {
            Group::Principal(RunPrincipal::Key(key)) => owners.get(key).and_then(|known| known.user),
            _ => None,
        };
        let group = member.map_or(group, |user| Group::Principal(RunPrincipal::User(user)));
        members.entry((at, group)).or_default().add(&figures);
    }
    Ok(members)
}

/// The keys that these groups are of, as far as they are known.
async fn keys_of(app: &App, groups: &Groups) -> Result<HashMap<KeyId, KnownKey>> {
    let key = |(_, group): &(Option<Timestamp>, Group)| match group {
        Group::Principal(RunPrincipal::Key(key)) => Some(*key),
        _ => None,
    };
    keys::known(&app.db, groups.keys().filter_map(key).collect()).await
}

/// How a group is shown, in the order of all groups: by time, or by name, and what is not known after the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    /// Its beginning, where time tells the groups apart.
    pub(super) at: Option<Timestamp>,
    last: u8,
    /// The name without the version's number.
    title: String,
    number: i32,
    /// For people.
    pub(super) name: String,
    /// For programs: no other group of that time has it.
    pub(super) key: String,
}

impl Shown {
    fn new(key: impl ToString, name: impl ToString) -> Self {
        let (key, name) = (key.to_string(), name.to_string());
        Self { at: None, last: 0, title: name.clone(), number: 0, name, key }
    }

    /// A word for what has no name; such ones come after the rest.
    fn word(word: &str, last: u8, of: Option<(FunctionId, String)>) -> Self {
        let shown = match of {
            Some((function, name)) => Self::new(format_args!("{function}@{word}"), format_args!("{name}@{word}")),
            None => Self::new(word, word),
        };
        Self { last, ..shown }
    }

    /// Its place among all groups of a report.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.at.map_or(0, |at| at.0), self.key)
    }
}

/// What groups point at.
#[derive(Default)]
pub(super) struct Names {
    functions: HashMap<FunctionId, String>,
    keys: HashMap<KeyId, KnownKey>,
    users: BTreeMap<Col<UserId>, String>,
}

impl Names {
    pub(super) async fn of(app: &App, groups: &Groups) -> Result<Self> {
        let (mut functions, mut users) = (BTreeSet::new(), BTreeSet::new());
        for (_, group) in groups.keys() {
            functions.extend(group.function().map(Col));
            if let Group::Principal(RunPrincipal::User(user)) = group {
                users.insert(Col(*user));
            }
        }
        let mut names = Self::default();
        if !functions.is_empty() {
            names.functions = names_of(app, functions).await?;
        }
        names.keys = keys_of(app, groups).await?;
        if !users.is_empty() {
            names.users = emails(&app.db, users.into_iter()).await?;
        }
        Ok(names)
    }

    fn function(&self, id: FunctionId) -> String {
        self.functions.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn principal(&self, principal: &RunPrincipal) -> String {
        let named = match principal {
            RunPrincipal::Key(key) => self.keys.get(key).map(|known| match known.revoked {
                true => format!("{} (revoked)", known.name),
                false => known.name.clone(),
            }),
            RunPrincipal::User(user) => self.users.get(&Col(*user)).cloned(),
            RunPrincipal::Public | RunPrincipal::Trigger(_) => None,
        };
        named.unwrap_or_else(|| principal.to_string())
    }

    /// A group of a time as it is shown.
    pub(super) fn show_at(&self, every: Option<Every>, at: Option<Timestamp>, group: &Group) -> Shown {
        let shown = match (group, every.zip(at)) {
            (Group::All, Some((every, at))) => Shown::new(every.key(at), every.key(at)),
            _ => self.show(group),
        };
        Shown { at, ..shown }
    }

    fn show(&self, group: &Group) -> Shown {
        let named = |function: &Option<FunctionId>| function.map(|function| (function, self.function(function)));
        match group {
            Group::All => Shown::new("all", "all"),
            Group::Unknown(function) => Shown::word("unknown", 1, named(function)),
            Group::Other(function) => Shown::word("other", 2, named(function)),
            Group::Function(function) => Shown::new(function, self.function(*function)),
            Group::Version(function, number) => {
                let title = self.function(*function);
                let shown = Shown::new(format_args!("{function}@v{number}"), format_args!("{title}@v{number}"));
                Shown { title, number: *number, ..shown }
            }
            Group::Lane(lane) => Shown::new(lane, lane),
            Group::Principal(principal) => Shown::new(principal, self.principal(principal)),
            Group::Source(source) => Shown::new(source, source),
            Group::Status(digit) => {
                // The words that lists of runs are searched by.
                let class = Statuses::class(u16::try_from(*digit).unwrap_or(0));
                Shown::new(class, class)
            }
        }
    }
}

async fn names_of(app: &App, ids: BTreeSet<Col<FunctionId>>) -> Result<HashMap<FunctionId, String>> {
    let rows = functions::Entity::find().filter(functions::Column::Id.is_in(ids)).all(app.db.read()).await?;
    let name = |row: functions::Model| match row.deleted {
        Some(_) => (row.id.0, format!("{} (deleted)", row.name.0)),
        None => (row.id.0, row.name.0.to_string()),
    };
    Ok(rows.into_iter().map(name).collect())
}
