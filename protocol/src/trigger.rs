//! Triggers: jobs that submit themselves, at their times or for each message of a queue.

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::job::SubmitJob;
use crate::names::Name;
use crate::units::Timestamp;

/// What becomes of times that passed while the platform could not look: `skip` (no job for a time that is more than
/// 60 s past), `once` (one job for all of them) or `all` (a job for each, up to 100). Times while the trigger is paused
/// are not missed: they bring no job, then or later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// Nothing: the next time is the next one. Up to 60 s late, a time is not missed.
    Skip,
    /// One job for all of them.
    #[default]
    Once,
    /// A job for each, up to a hundred.
    All,
}

impl std::str::FromStr for Missed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            "all" => Ok(Self::All),
            other => Err(format!("{other:?} is none of skip, once, all")),
        }
    }
}

/// `PUT /triggers/{name}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetTrigger {
    /// Five fields as in crontab(5): minute (0 to 59), hour (0 to 23), day (1 to 31), month (1 to 12, or `jan` to
    /// `dec`) and weekday (0 to 7, or `sun` to `sat`), each `*`, a value, a range, a range with a step, or a list of
    /// these; or `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`. Extensions of other
    /// programs (`L`, `W`, `#`, `?`), `@reboot`, and what is never due are refused. Either this or `queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A job for each message of this queue, which is its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
    /// The time zone, by its name in the tz database, such as `Europe/Berlin`; UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What becomes of times that passed while the platform could not look: `skip` (no job for a time that is more than
    /// 60 s past), `once` (one job for all of them) or `all` (a job for each, up to 100); those of a pause are never made
    /// up.
    #[serde(default)]
    pub missed: Missed,
    /// Nothing happens until it is set again: times that pass meanwhile bring no job, messages of a queue wait.
    #[serde(default)]
    pub paused: bool,
    /// The job. Its `not_before` must be left out.
    pub job: SubmitJob,
}

impl SetTrigger {
    /// Of this job; what says when is still to be added.
    #[must_use]
    pub fn of(job: SubmitJob) -> Self {
        Self { cron: None, queue: None, zone: None, missed: Missed::default(), paused: false, job }
    }
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trigger {
    /// Its name in the account.
    pub name: Name,
    /// At which times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// For the messages of which queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
    /// The time zone.
    pub zone: String,
    /// What becomes of times that passed while the platform could not look; those of a pause are never made up.
    pub missed: Missed,
    /// It does nothing now.
    pub paused: bool,
    /// The job.
    pub job: SubmitJob,
    /// The next time; none where there is no such time any more, and of a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The last time that it did something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The job that it submitted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
    /// Why the last time brought no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The address of the user who set it last, or who has taken it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}
