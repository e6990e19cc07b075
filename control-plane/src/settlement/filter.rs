//! Which runs a list is of. Whatever is asked for, a page reads a bounded number of rows: an index gives the account's or
//! the function's runs, or those of them that went wrong; and of so many, those that fit are shown. The same question is
//! put to the lines of blocks.

use books::Run;
use protocol::api::Statuses;
use protocol::receipt::Outcome;
use protocol::{AccountId, Code, FunctionId, Lane, RunId, RunPrincipal, RunSource, Timestamp};
use sea_orm::{ColumnTrait as _, Condition, QueryFilter as _, QuerySelect as _, Select};
use serde::{Deserialize, Deserializer, de};

use super::windows::first_id_at;
use crate::db::Db;
use crate::db::columns::Col;
use crate::db::entities::runs;
use crate::db::loops;
use crate::error::{Result, refuse_field};
use crate::identity::principals;
use crate::words::words;

/// Which runs. A page that searches (by anything but `from` and `to`) may be short, with `next` set.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunFilter {
    /// Only of this function.
    #[serde(default)]
    pub(super) function: Option<String>,
    /// Only of versions with this number.
    #[serde(default)]
    version: Option<u32>,
    /// Only those that ended so: `succeeded`, `failed`, `timed_out`, `cancelled`, `platform_failed`, or with this code, such
    /// as `trap`; or several of them, with commas in between.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>)]
    outcome: Option<Vec<Ended>>,
    /// Only those that were answered with this status, such as `404`, with one of a class, such as `5xx`, or not at all:
    /// `none`.
    #[serde(default, deserialize_with = "statuses")]
    #[param(value_type = Option<String>)]
    status: Option<Statuses>,
    /// Only those in this lane.
    #[serde(default)]
    lane: Option<Lane>,
    /// Only those that were made so: `call`, `test`, `job`, `schedule`, `queue`; or several of them, with commas in
    /// between.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>)]
    source: Option<Vec<RunSource>>,
    /// Only those on behalf of this one: `public`, a key (`key_...`, or its name), a user (`user_...`, or a member's e-mail
    /// address) or a trigger (`trigger:NAME`).
    #[serde(default)]
    principal: Option<String>,
    /// Only those on behalf of this member and their keys: a user (`user_...`), or an e-mail address.
    #[serde(default)]
    member: Option<String>,
    /// Only those whose figures are not what both halves say (`true`), or only the others (`false`).
    #[serde(default)]
    flagged: Option<bool>,
    /// Only those that began at this time or later (RFC 3339).
    #[serde(default)]
    from: Option<Timestamp>,
    /// Only those that began before this time (RFC 3339).
    #[serde(default)]
    to: Option<Timestamp>,
}

/// How runs ended, as lists show it: a word for it, or the platform's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "neither an outcome such as `failed` nor a code such as `trap`")]
pub(super) enum Ended {
    /// By the outcome.
    Outcome(Outcome),
    /// By the code.
    Code(Code),
}

impl Ended {
    fn is_of(self, run: &Run) -> bool {
        match self {
            Self::Outcome(outcome) => run.outcome == outcome,
            Self::Code(code) => run.code == Some(code),
        }
    }

    fn column(self) -> Condition {
        match self {
            Self::Outcome(outcome) => Condition::all().add(runs::Column::Outcome.eq(Col(outcome))),
            Self::Code(code) => Condition::all().add(runs::Column::Code.eq(Col(code))),
        }
    }
}

fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Statuses>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

impl RunFilter {
    /// Refuses what cannot be, and looks up what is named. `function` is the one of its name.
    pub(super) async fn resolve(
        &self,
        db: &Db,
        account: AccountId,
        function: Option<FunctionId>,
        before: Option<RunId>,
    ) -> Result<Wanted> {
        if self.from.zip(self.to).is_some_and(|(from, to)| to < from) {
            return Err(refuse_field(Code::InvalidRequest, "to", "`to` is before `from`."));
        }
        let principals = principals::asked(db, account, self.principal.as_deref(), self.member.as_deref()).await?;
        let first = |at| RunId::from_uuid(first_id_at(at));
        let until = self.to.map(first);
        Ok(Wanted {
            account,
            function,
            version: self.version,
            ended: self.outcome.clone(),
            status: self.status,
            lane: self.lane,
            sources: self.source.clone(),
            principals,
            flagged: self.flagged,
            from: self.from.map(first),
            before: before.map_or(until, |before| Some(until.map_or(before, |until| until.min(before)))),
        })
    }
}

/// Which runs of an account a page is of, from `from` to `before`, which does not belong to it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) account: AccountId,
    pub(super) function: Option<FunctionId>,
    pub(super) version: Option<u32>,
    pub(super) ended: Option<Vec<Ended>>,
    pub(super) status: Option<Statuses>,
    pub(super) lane: Option<Lane>,
    pub(super) sources: Option<Vec<RunSource>>,
    pub(super) principals: Option<Vec<RunPrincipal>>,
    pub(super) flagged: Option<bool>,
    pub(super) from: Option<RunId>,
    pub(super) before: Option<RunId>,
}

impl Wanted {
    /// The runs to look at, the newest first: what an index alone gives.
    pub(super) fn candidates(&self) -> Select<runs::Entity> {
        let mut query = match (self.function, self.went_wrong()) {
            (None, None) => loops::runs_of_account(self.account),
            (None, Some(how)) => loops::runs_wrong_of_account(self.account, how),
            (Some(function), None) => loops::runs_of_function(self.account, function),
            (Some(function), Some(how)) => loops::runs_wrong_of_function(self.account, function, how),
        };
        if let Some(from) = self.from {
            query = query.filter(runs::Column::RunId.gte(Col(from)));
        }
        match self.before {
            Some(before) => query.filter(runs::Column::RunId.lt(Col(before))),
            None => query,
        }
    }

    /// Whether rows are looked at one by one.
    pub(super) fn searches(&self) -> bool {
        let what = self.version.is_some() || self.lane.is_some() || self.flagged.is_some();
        let how_it_ended = self.ended.is_some() || self.status.is_some();
        what || how_it_ended || self.sources.is_some() || self.principals.is_some()
    }

    /// Those of the candidates that fit.
    pub(super) fn fitting(&self, candidates: Select<runs::Entity>) -> Select<runs::Entity> {
        let mut query = candidates;
        if let Some(version) = self.version {
            query = query.filter(runs::Column::VersionNumber.eq(i32::try_from(version).unwrap_or(i32::MAX)));
        }
        if let Some(ended) = &self.ended {
            query = query.filter(ended.iter().fold(Condition::any(), |any, ended| any.add(ended.column())));
        }
        if let Some(Statuses { first, last }) = self.status {
            query = query.filter(runs::Column::Status.between(i32::from(first), i32::from(last)));
        }
        if let Some(lane) = self.lane {
            query = query.filter(runs::Column::Lane.eq(Col(lane)));
        }
        if let Some(sources) = &self.sources {
            query = query.filter(runs::Column::Source.is_in(sources.iter().map(|source| Col(*source))));
        }
        if let Some(principals) = &self.principals {
            query = query.filter(runs::Column::Principal.is_in(principals.iter().cloned().map(Col)));
        }
        match self.flagged {
            Some(true) => query.filter(runs::Column::Flag.is_not_null()),
            Some(false) => query.filter(runs::Column::Flag.is_null()),
            None => query,
        }
    }

    /// Whether a line of a block fits, wherever it stands.
    pub(super) fn fits(&self, run: &Run) -> bool {
        let Self { function, version, ended, status, lane, sources, principals, flagged, .. } = self;
        function.is_none_or(|function| run.function == function)
            && version.is_none_or(|version| run.version_number == version)
            && ended.as_ref().is_none_or(|ended| ended.iter().any(|ended| ended.is_of(run)))
            && status.is_none_or(|status| status.contains(run.status))
            && lane.is_none_or(|lane| run.lane == lane)
            && sources.as_ref().is_none_or(|sources| run.source.is_some_and(|source| sources.contains(&source)))
            && principals.as_ref().is_none_or(|wanted| run.principal.as_ref().is_some_and(|who| wanted.contains(who)))
            && flagged.is_none_or(|flagged| run.flag.is_some() == flagged)
    }

    /// By which half of the index of runs that went wrong they are found; none where it does not have all of them.
    fn went_wrong(&self) -> Option<&'static str> {
        let unsuccessful = |ended: &Ended| matches!(ended, Ended::Outcome(outcome) if *outcome != Outcome::Succeeded);
        if self.ended.as_ref().is_some_and(|ended| ended.iter().all(unsuccessful)) {
            return Some(loops::UNSUCCESSFUL);
        }
        self.status.filter(|status| status.first >= 400).map(|_| loops::ERROR_STATUS)
    }
}

/// The id of the last of so many candidates; none where there are fewer.
pub(super) fn last_of(candidates: Select<runs::Entity>, many: u64) -> Select<runs::Entity> {
    candidates.select_only().column(runs::Column::RunId).offset(many.saturating_sub(1)).limit(1)
}
