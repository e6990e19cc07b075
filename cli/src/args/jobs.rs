//! The grammar of jobs and triggers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::JobId;
use protocol::job::{JobSort, JobState};
use protocol::trigger::Missed;

use super::List;
use super::limits::JobLimits;
use super::words::pair;

/// `jobs`
#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// Submit one; it is kept until it has ended
    Submit(Box<SubmitJob>),
    /// List the recent ones
    List {
        /// Only of this function
        function: Option<String>,
        /// Only in this state: queued, placed, running, succeeded, failed, timed-out, cancelled, dead
        #[arg(long)]
        state: Option<JobState>,
        /// Only with this label
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        label: Option<(String, String)>,
        /// Only of this array
        #[arg(long, value_name = "JOB")]
        array: Option<JobId>,
        /// In this order: -submitted (the newest first), submitted; or -ended, ended: only those that have ended
        #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
        sort: Option<JobSort>,
        #[command(flatten)]
        list: List,
    },
    /// Show one, with its life so far
    Show { job: JobId },
    /// Wait for the end of one or more; the exit status is that of the worst
    Wait {
        #[arg(required = true)]
        jobs: Vec<JobId>,
        /// At most so long, such as 10m
        #[arg(long)]
        timeout: Option<protocol::Millis>,
    },
    /// What its runs wrote
    Logs {
        job: JobId,
        /// Go on until it has ended
        #[arg(short, long)]
        follow: bool,
    },
    /// The answer
    Output {
        job: JobId,
        /// Write the body to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Show status and headers too
        #[arg(short, long)]
        include: bool,
    },
    /// Cancel one
    Cancel { job: JobId },
    /// Try one again that did not succeed
    Retry { job: JobId },
    /// Why it is where it is
    Why { job: JobId },
}

/// `triggers`
#[derive(Debug, Subcommand)]
pub(crate) enum Triggers {
    /// List them
    List(List),
    /// Show one
    Show { name: String },
    /// Make or change one
    Set {
        name: String,
        /// Minute, hour, day, month, weekday, as in crontab(5); or @hourly, @daily, @weekly, @monthly, @yearly
        #[arg(long, value_name = "PATTERN", required_unless_present = "queue")]
        cron: Option<String>,
        /// For each message of this queue, which is the job's input
        #[arg(long, conflicts_with_all = ["cron", "zone", "data", "each_line"])]
        queue: Option<protocol::Name>,
        /// The time zone, such as Europe/Berlin; UTC where it is left out
        #[arg(long)]
        zone: Option<String>,
        /// What becomes of times that passed while the platform was down: skip (no job for a time that is more than
        /// 60 s past), once (one job), all (a job for each, up to 100); times of a pause are never made up
        #[arg(long, default_value = "once")]
        missed: Missed,
        /// It does nothing until it is set again; then it goes on with the next time
        #[arg(long)]
        paused: bool,
        #[command(flatten)]
        job: Box<SubmitJob>,
    },
    /// Delete one; its jobs stay
    Delete { name: String },
}

/// `jobs submit`
#[derive(Debug, Args)]
pub(crate) struct SubmitJob {
    /// FUNCTION, FUNCTION@v3 or FUNCTION@alias
    pub(crate) function: String,
    /// Path and query
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// The method
    #[arg(short = 'X', long)]
    pub(crate) method: Option<String>,
    /// A header; again for more
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// The input: a text, @FILE, or - for standard input
    #[arg(short, long, value_name = "TEXT|@FILE|-")]
    pub(crate) data: Option<String>,
    /// A job for each line of this file (- for standard input), with the line as its input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["data", "wait"])]
    pub(crate) each_line: Option<String>,
    #[command(flatten)]
    pub(crate) limits: JobLimits,
    /// Tries again so often when the function fails
    #[arg(long)]
    pub(crate) retries: Option<u32>,
    /// The pause before the first retry, such as 5s; each further one is twice as long
    #[arg(long)]
    pub(crate) backoff: Option<protocol::Millis>,
    /// -10 (last) to 10 (first)
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// Not before this time (RFC 3339), or not before so long from now, such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<String>,
    /// A label; again for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Gets a signed POST at the end
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// The same key twice submits one job
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Wait for its end, and print the answer
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: write the answer's body to this file
    #[arg(short, long, value_name = "FILE", requires = "wait")]
    pub(crate) output: Option<PathBuf>,
}
