//! What a group of usage is, as programs and people are told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::api::{Statuses, UsageBy};
use protocol::{FunctionId, KeyId, Lane, RunPrincipal, RunSource, Timestamp, UserId};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryResult};

use super::figures::Figures;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{api_keys, functions};
use crate::error::Result;
use crate::identity::members::emails;

/// What the runs of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Group {
    /// Rare values, or rare values of a function.
    Other(Option<FunctionId>),
    /// It is not known, or not of this function.
    Unknown(Option<FunctionId>),
    Function(FunctionId),
    Version(FunctionId, i32),
    Lane(Lane),
    Principal(RunPrincipal),
    Source(RunSource),
    /// The first digit of the status.
    Status(i32),
    Day(Timestamp),
    Hour(Timestamp),
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
            UsageBy::Day | UsageBy::Hour => &["began"],
        }
    }

    /// What these columns of a row say.
    pub(super) fn read(by: UsageBy, row: &QueryResult) -> Result<Self, DbErr> {
        let function = || Ok::<_, DbErr>(row.try_get::<Option<Col<FunctionId>>>("", "function_id")?.map(|id| id.0));
        let began = || Ok::<_, DbErr>(row.try_get::<Col<Timestamp>>("", "began")?.0);
        let known = match by {
            UsageBy::Day => return Ok(Self::Day(began()?)),
            UsageBy::Hour => return Ok(Self::Hour(began()?)),
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
            UsageBy::Status => row.try_get::<Option<i32>>("", "status")?.map(Self::Status),
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

/// Groups of principals as groups of members: what ran for a key is its user's. Keys that are deleted stay keys.
pub(super) async fn by_member(app: &App, groups: Vec<(Group, Figures)>) -> Result<Vec<(Group, Figures)>> {
    let rows = keys_of(app, &groups).await?;
    let owner = |row: api_keys::Model| Some((row.id.0, row.user_id?.0));
    let owners: HashMap<KeyId, UserId> = rows.into_iter().filter_map(owner).collect();
    let (mut members, mut others) = (BTreeMap::<UserId, Figures>::new(), Vec::new());
    for (group, figures) in groups {
        let member = match &group {
            Group::Principal(RunPrincipal::User(user)) => Some(*user),
            Group::Principal(RunPrincipal::Key(key)) => owners.get(key).copied(),
            _ => None,
        };
        match member {
            Some(user) => members.entry(user).or_default().add(&figures),
            None => others.push((group, figures)),
        }
    }
    let member = |(user, figures)| (Group::Principal(RunPrincipal::User(user)), figures);
    others.extend(members.into_iter().map(member));
    Ok(others)
}

/// The keys that these groups are of, as far as they are not deleted.
async fn keys_of(app: &App, groups: &[(Group, Figures)]) -> Result<Vec<api_keys::Model>> {
    let key = |(group, _): &(Group, Figures)| match group {
        Group::Principal(RunPrincipal::Key(key)) => Some(Col(*key)),
        _ => None,
    };
    let keys: Vec<Col<KeyId>> = groups.iter().filter_map(key).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    Ok(api_keys::Entity::find().filter(api_keys::Column::Id.is_in(keys)).all(app.db.read()).await?)
}

/// How a group is shown, in the order of all groups: by time, or by name, and what is not known after the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    last: u8,
    at: Timestamp,
    /// The name without the version's number.
    title: String,
    number: i32,
    /// For people.
    pub(super) name: String,
    /// For programs: no other group has it.
    pub(super) key: String,
}

impl Shown {
    fn new(key: impl ToString, name: impl ToString) -> Self {
        let (key, name) = (key.to_string(), name.to_string());
        Self { last: 0, at: Timestamp(0), title: name.clone(), number: 0, name, key }
    }

    /// A word for what has no name; such ones come after the rest.
    fn word(word: &str, last: u8, of: Option<(FunctionId, String)>) -> Self {
        let shown = match of {
            Some((function, name)) => Self::new(format_args!("{function}@{word}"), format_args!("{name}@{word}")),
            None => Self::new(word, word),
        };
        Self { last, ..shown }
    }
}

/// What groups point at.
#[derive(Default)]
pub(super) struct Names {
    functions: HashMap<FunctionId, String>,
    keys: HashMap<KeyId, String>,
    users: BTreeMap<Col<UserId>, String>,
}

impl Names {
    pub(super) async fn of(app: &App, groups: &[(Group, Figures)]) -> Result<Self> {
        let (mut functions, mut users) = (BTreeSet::new(), Vec::new());
        for (group, _) in groups {
            functions.extend(group.function().map(Col));
            if let Group::Principal(RunPrincipal::User(user)) = group {
                users.push(Col(*user));
            }
        }
        let mut names = Self::default();
        if !functions.is_empty() {
            names.functions = names_of(app, functions).await?;
        }
        names.keys = keys_of(app, groups).await?.into_iter().map(|row| (row.id.0, row.name)).collect();
        if !users.is_empty() {
            names.users = emails(app, users.into_iter()).await?;
        }
        Ok(names)
    }

    fn function(&self, id: FunctionId) -> String {
        self.functions.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn principal(&self, principal: &RunPrincipal) -> String {
        let named = match principal {
            RunPrincipal::Key(key) => self.keys.get(key).cloned(),
            RunPrincipal::User(user) => self.users.get(&Col(*user)).cloned(),
            RunPrincipal::Public | RunPrincipal::Trigger(_) => None,
        };
        named.unwrap_or_else(|| principal.to_string())
    }

    /// A group as it is shown.
    pub(super) fn show(&self, group: &Group) -> Shown {
        let named = |function: &Option<FunctionId>| function.map(|function| (function, self.function(function)));
        match group {
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
            Group::Day(began) => {
                let text = began.to_string();
                let day = text.split('T').next().unwrap_or_default();
                Shown { at: *began, ..Shown::new(day, day) }
            }
            Group::Hour(began) => Shown { at: *began, ..Shown::new(began, began) },
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
