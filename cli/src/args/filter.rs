//! Which runs a command is of. Lists of runs and reports of usage choose them by the same flags, in the same words.

use clap::Args;
use protocol::{Lane, RunSource, Timestamp};

use super::words::{version, word};
use crate::times;

/// The last moment that can be written.
const LAST: Timestamp = Timestamp(253_402_300_799_000);

/// From when to when.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Period {
    /// Since then: a time (RFC 3339), a date, or how long ago, such as 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = times::from)]
    pub(crate) from: Option<Timestamp>,
    /// Until then: a time, how long ago, or a date, which belongs to the period
    #[arg(long, value_name = "TIME", value_parser = times::to)]
    pub(crate) to: Option<Timestamp>,
}

/// Runs that have all of this.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Selection {
    /// Only of versions with this number, such as v3
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u32>,
    /// Only in this lane: wasm, vm
    #[arg(long, value_name = "LANE", value_parser = lane)]
    pub(crate) lane: Option<Lane>,
    /// Only what was made so: call, test, job, schedule, queue; several with commas
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = source)]
    pub(crate) source: Vec<RunSource>,
    /// Only on behalf of this one: public, a key or a user (by id, name or address), a trigger (trigger:NAME)
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<String>,
    /// Only on behalf of this member and their keys: an address, or an id
    #[arg(long, value_name = "MEMBER")]
    pub(crate) member: Option<String>,
    #[command(flatten)]
    pub(crate) period: Period,
}

impl Period {
    /// As the API is asked for it.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let times = [("from", self.from), ("to", self.to)];
        times.into_iter().filter_map(|(name, at)| Some((name, at?.min(LAST).to_string()))).collect()
    }
}

impl Selection {
    /// As the API is asked for it.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let Self { version, lane, source, principal, member, period } = self;
        let sources: Vec<&str> = source.iter().map(|source| source.as_str()).collect();
        let mut query = Vec::new();
        query.extend(version.map(|version| ("version", version.to_string())));
        query.extend(lane.map(|lane| ("lane", lane.to_string())));
        query.extend((!sources.is_empty()).then(|| ("source", sources.join(","))));
        query.extend(principal.clone().map(|principal| ("principal", principal)));
        query.extend(member.clone().map(|member| ("member", member)));
        query.extend(period.query());
        query
    }
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
        assert_eq!(lane("vm"), Ok(Lane::Vm));
        assert_eq!(source("queue"), Ok(RunSource::Queue));
        assert!(source("odd").unwrap_err().contains("schedule"));
    }
}
