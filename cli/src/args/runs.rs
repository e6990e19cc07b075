//! The grammar of runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::api::Statuses;
use protocol::receipt::Outcome;
use protocol::{Code, Lane, RunSource, Timestamp};

use super::{List, version, word};
use crate::times;

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
    /// Only those that ended so: succeeded, failed, timed_out, cancelled, platform_failed, or a code such as trap; several
    /// with commas
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = outcome)]
    pub(crate) outcome: Vec<String>,
    /// Only those with this status, such as 404, with one of a class, such as 5xx, or none
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<Statuses>,
    /// Only those in this lane: wasm, vm
    #[arg(long, value_name = "LANE", value_parser = lane)]
    pub(crate) lane: Option<Lane>,
    /// Only those that were made so: call, test, job, schedule, queue; several with commas
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = source)]
    pub(crate) source: Vec<RunSource>,
    /// Only those on behalf of this one: public, a key (its name or id), a user (the e-mail address or id), or
    /// trigger:NAME
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<String>,
    /// Only those whose figures are not what both node and gateway say
    #[arg(long)]
    pub(crate) flagged: bool,
    /// Only those that began then or later: a time (RFC 3339), a date, or how long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = times::from)]
    pub(crate) from: Option<Timestamp>,
    /// Only those that began before: a time, a date, which belongs to the period, or how long ago
    #[arg(long, value_name = "TIME", value_parser = times::to)]
    pub(crate) to: Option<Timestamp>,
}

/// `receipts`
#[derive(Debug, Subcommand)]
pub(crate) enum Receipts {
    /// Download settled runs as they are kept, and check them
    Download {
        /// Since then: a time (RFC 3339), a date, or how long ago, such as 7d
        #[arg(long, value_name = "TIME", value_parser = times::from)]
        from: Option<Timestamp>,
        /// Until then: a time, a date, which belongs to the period, or how long ago
        #[arg(long, value_name = "TIME", value_parser = times::to)]
        to: Option<Timestamp>,
        /// Into this file, as lines of JSON
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// A word that the list shows: an outcome, or the code that says more.
fn outcome(text: &str) -> Result<String, String> {
    let typed = text.replace('-', "_");
    let expected = "succeeded, failed, timed_out, cancelled, platform_failed, or a code such as trap";
    let code = |text: &str| Code::ALL.iter().any(|code| code.as_str() == text);
    // Codes are written as they are.
    if let Some(code) = [typed.as_str(), text].into_iter().find(|word| code(word)) {
        return Ok(code.to_owned());
    }
    word::<Outcome>(&typed, expected).map(|_| typed)
}

fn lane(text: &str) -> Result<Lane, String> {
    word(text, "wasm, vm")
}

fn source(text: &str) -> Result<RunSource, String> {
    word(text, "call, test, job, schedule, queue")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(outcome("timed-out").unwrap(), "timed_out");
        for code in Code::ALL {
            assert_eq!(outcome(code.as_str()).unwrap(), code.as_str(), "what the list shows can be typed");
        }
        assert!(outcome("odd").unwrap_err().contains("platform_failed"));
        assert_eq!(lane("vm"), Ok(Lane::Vm));
        assert_eq!(source("queue"), Ok(RunSource::Queue));
    }
}
