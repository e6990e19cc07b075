//! Which runs a list is of. Whatever is asked for, a page reads a bounded number of rows: an index gives the account's or
//! the function's runs, or those of them that went wrong; and of so many, those that fit are shown.

use protocol::api::Statuses;
use protocol::receipt::Outcome;
use protocol::{AccountId, Code, FunctionId, Lane, RunId, RunPrincipal, RunSource, Timestamp};
use sea_orm::{ColumnTrait as _, QueryFilter as _, QuerySelect as _, Select};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};

use super::retention::first_id_at;
use crate::db::columns::Col;
use crate::db::entities::runs;
use crate::db::loops;
use crate::error::{Result, refuse_field};

/// Which runs. A page that searches (by anything but `function`, `from` and `to`) may be short, with `next` set.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunFilter {
    /// Only of this function.
    #[serde(default)]
    pub(super) function: Option<String>,
    /// Only of versions with this number.
    #[serde(default)]
    version: Option<u32>,
    /// Only those that ended so: `succeeded`, `failed`, `timed_out`, `cancelled`, `platform_failed`; or several of them,
    /// with commas in between.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>)]
    outcome: Option<Vec<Outcome>>,
    /// Only those that were answered with this status, such as `404`, or with one of a class, such as `5xx`.
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
    /// Only those on behalf of this one: `public`, a key (`key_...`), a user (`user_...`) or a trigger (`trigger:NAME`).
    #[serde(default)]
    principal: Option<RunPrincipal>,
    /// Only those that began at this time or later (RFC 3339).
    #[serde(default)]
    from: Option<Timestamp>,
    /// Only those that began before this time (RFC 3339).
    #[serde(default)]
    to: Option<Timestamp>,
}

/// Words of an enum with commas in between.
fn words<'de, D, T>(deserializer: D) -> std::result::Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let text = String::deserialize(deserializer)?;
    let word = |word| T::deserialize(StrDeserializer::<D::Error>::new(word));
    text.split(',').map(word).collect::<std::result::Result<Vec<_>, _>>().map(Some)
}

fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Statuses>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

impl RunFilter {
    /// Refuses what cannot be.
    pub(super) fn check(&self) -> Result<()> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if to < from => {
                Err(refuse_field(Code::InvalidRequest, "to", "`to` is before `from`."))
            }
            _ => Ok(()),
        }
    }

    /// The runs to look at, the newest first: what an index alone gives.
    pub(super) fn candidates(
        &self,
        account: AccountId,
        function: Option<FunctionId>,
        before: Option<RunId>,
    ) -> Select<runs::Entity> {
        let mut query = match (function, self.went_wrong()) {
            (None, None) => loops::runs_of_account(account),
            (None, Some(how)) => loops::runs_wrong_of_account(account, how),
            (Some(function), None) => loops::runs_of_function(account, function),
            (Some(function), Some(how)) => loops::runs_wrong_of_function(account, function, how),
        };
        let first = |at| Col(RunId::from_uuid(first_id_at(at)));
        if let Some(from) = self.from {
            query = query.filter(runs::Column::RunId.gte(first(from)));
        }
        if let Some(to) = self.to {
            query = query.filter(runs::Column::RunId.lt(first(to)));
        }
        match before {
            Some(before) => query.filter(runs::Column::RunId.lt(Col(before))),
            None => query,
        }
    }

    /// Whether candidates are looked at one by one.
    pub(super) fn searches(&self) -> bool {
        let what = self.version.is_some() || self.lane.is_some();
        let how_it_ended = self.outcome.is_some() || self.status.is_some();
        what || how_it_ended || self.source.is_some() || self.principal.is_some()
    }

    /// Those of the candidates that fit.
    pub(super) fn fitting(&self, mut query: Select<runs::Entity>) -> Select<runs::Entity> {
        if let Some(version) = self.version {
            query = query.filter(runs::Column::VersionNumber.eq(i32::try_from(version).unwrap_or(i32::MAX)));
        }
        if let Some(outcomes) = &self.outcome {
            query = query.filter(runs::Column::Outcome.is_in(outcomes.iter().map(|outcome| Col(*outcome))));
        }
        if let Some(Statuses { first, last }) = self.status {
            query = query.filter(runs::Column::Status.between(i32::from(first), i32::from(last)));
        }
        if let Some(lane) = self.lane {
            query = query.filter(runs::Column::Lane.eq(Col(lane)));
        }
        if let Some(sources) = &self.source {
            query = query.filter(runs::Column::Source.is_in(sources.iter().map(|source| Col(*source))));
        }
        if let Some(principal) = &self.principal {
            query = query.filter(runs::Column::Principal.eq(Col(principal.clone())));
        }
        query
    }

    /// By which half of the index of runs that went wrong they are found; none where it does not have all of them.
    fn went_wrong(&self) -> Option<&'static str> {
        let unsuccessful = |outcomes: &Vec<Outcome>| !outcomes.contains(&Outcome::Succeeded);
        if self.outcome.as_ref().is_some_and(unsuccessful) {
            return Some(loops::UNSUCCESSFUL);
        }
        self.status.filter(|status| status.first >= 400).map(|_| loops::ERROR_STATUS)
    }
}

/// The id of the last of so many candidates; none where there are fewer.
pub(super) fn last_of(candidates: Select<runs::Entity>, many: u64) -> Select<runs::Entity> {
    candidates.select_only().column(runs::Column::RunId).offset(many.saturating_sub(1)).limit(1)
}
