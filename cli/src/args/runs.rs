//! The grammar of runs.

use clap::{Args, Subcommand};
use protocol::api::Statuses;
use protocol::receipt::Outcome;
use protocol::{Lane, Millis, RunPrincipal, RunSource, Timestamp};

use super::{List, version, word};

/// `invocations`
#[derive(Debug, Subcommand)]
pub(crate) enum Invocations {
    /// List the recent ones
    List {
        #[command(flatten)]
        filter: RunFilter,
        #[command(flatten)]
        list: List,
    },
    /// Show one
    Show { run: String },
}

/// Which ones `invocations list` shows.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunFilter {
    /// Only of this function
    pub(crate) function: Option<String>,
    /// Only of versions with this number, such as v3
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u32>,
    /// Only those that ended so: succeeded, failed, timed_out, cancelled, platform_failed; several with commas
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = outcome)]
    pub(crate) outcome: Vec<Outcome>,
    /// Only those with this status, such as 404, or with one of a class, such as 5xx
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<Statuses>,
    /// Only those in this lane: wasm, vm
    #[arg(long, value_name = "LANE", value_parser = lane)]
    pub(crate) lane: Option<Lane>,
    /// Only those that were made so: call, test, job, schedule, queue; several with commas
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = source)]
    pub(crate) source: Vec<RunSource>,
    /// Only those on behalf of this one: public, a key (key_...), a user (user_...), a trigger (trigger:NAME)
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<RunPrincipal>,
    /// Only those that began at this time (RFC 3339) or later, or at most so long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: Option<Timestamp>,
    /// Only those that began before this time (RFC 3339), or longer ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) to: Option<Timestamp>,
}

fn outcome(text: &str) -> Result<Outcome, String> {
    word(&text.replace('-', "_"), "succeeded, failed, timed_out, cancelled, platform_failed")
}

fn lane(text: &str) -> Result<Lane, String> {
    word(text, "wasm, vm")
}

fn source(text: &str) -> Result<RunSource, String> {
    word(text, "call, test, job, schedule, queue")
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<Millis>() {
        let ago = i64::try_from(ago.0).unwrap_or(i64::MAX);
        return Ok(Timestamp(Timestamp::now().0.saturating_sub(ago)));
    }
    text.parse().map_err(|_| "expected a time such as 2027-01-31T08:00:00Z, or how long ago, such as 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_words() {
        assert_eq!(moment("2027-01-31T08:00:00Z").unwrap().to_string(), "2027-01-31T08:00:00Z");
        let ago = Timestamp::now().since(moment("1h").unwrap());
        assert!((3600..3700).contains(&ago.as_secs()), "{ago:?}");
        moment("yesterday").unwrap_err();
        assert_eq!(outcome("timed-out"), Ok(Outcome::TimedOut));
        assert!(outcome("odd").unwrap_err().contains("platform_failed"));
        assert_eq!(lane("vm"), Ok(Lane::Vm));
        assert_eq!(source("queue"), Ok(RunSource::Queue));
    }
}
