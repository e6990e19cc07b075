//! The grammar of `usage`.

use clap::Args;
use protocol::api::UsageBy;

use super::{List, word};

const EXAMPLES: &str = "Examples:
  crowdcloud usage                                          the last 30 days, by function
  crowdcloud usage --by day --from 2026-11-01 --to 2026-11-30
  crowdcloud usage --by principal --function thumbs         who had thumbs run
  crowdcloud usage --by hour --csv > usage.csv              the last day, for a spreadsheet
  crowdcloud usage --by source --json";

/// `usage`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Usage {
    /// By what: function, version, lane, principal, member, source, status, day, hour
    #[arg(long, value_name = "WHAT", value_parser = by, default_value = "function")]
    pub(crate) by: UsageBy,
    /// Since then: a date, or a time (RFC 3339); 30 days ago where it is left out, or one where it is by hour
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Until then: a time, or a date, which belongs to the period; now where it is left out
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only of this function
    #[arg(long)]
    pub(crate) function: Option<String>,
    /// All of it as CSV, whatever else is asked for
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) list: List,
}

fn by(text: &str) -> Result<UsageBy, String> {
    word(text, "function, version, lane, principal, member, source, status, day, hour")
}
