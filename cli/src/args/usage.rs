//! The grammar of `usage`.

use clap::Args;
use protocol::api::UsageBy;

use super::words::word;
use super::{List, Selection};

const EXAMPLES: &str = "Examples:
  crowdcloud usage                                          the last 30 days, by function
  crowdcloud usage --by day --from 2026-11-01 --to 2026-11-30
  crowdcloud usage --by day,function --from 7d              each function on each day of the last week
  crowdcloud usage --by minute --from 1h --source call      each minute of the last hour
  crowdcloud usage --by principal --function thumbs         who had thumbs run
  crowdcloud usage --by hour --csv > usage.csv              the last day, for a spreadsheet
  crowdcloud usage --now                                    what waits and runs, and what nodes lend

Without --from it begins 30 days before its end; told by minute an hour, by hour a day, by month a year.";

const WORDS: &str = "function, version, lane, principal, member, source, status, minute, hour, day, month";

/// `usage`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Usage {
    /// By what: function, version, lane, principal, member, source, status; or a time: minute, hour, day, month; or a time
    /// and one of the others, such as day,function
    #[arg(long, value_name = "WHAT", value_parser = by, default_value = "function")]
    pub(crate) by: String,
    /// Only of this function
    #[arg(long)]
    pub(crate) function: Option<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// What waits and runs now, what the last full minute used, and what live nodes lend
    #[arg(long, conflicts_with_all = [
        "by", "from", "to", "function", "version", "lane", "source", "principal", "member", "csv", "limit", "cursor",
    ])]
    pub(crate) now: bool,
    /// All of it as CSV, whatever else is asked for
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) list: List,
}

/// One word, or a time and another one.
fn by(text: &str) -> Result<String, String> {
    let words = text.split(',').map(|one| word(one, WORDS)).collect::<Result<Vec<UsageBy>, _>>()?;
    match words.as_slice() {
        [_] => Ok(text.to_owned()),
        [one, other] if one.is_time() != other.is_time() => Ok(text.to_owned()),
        _ => Err("expected one word, or a time and one of the others, such as day,function".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_by_one_word_or_by_a_time_and_another() {
        for right in ["function", "minute", "month,status", "member,day"] {
            assert_eq!(by(right), Ok(right.to_owned()));
        }
        for wrong in ["", "colour", "day,hour", "lane,status", "day,lane,status"] {
            by(wrong).unwrap_err();
        }
    }
}
