//! The grammar of runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::Code;
use protocol::api::Statuses;
use protocol::receipt::Outcome;

use super::words::word;
use super::{List, Period, Selection};

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
    /// Only those that ended so: succeeded, failed, timed_out, cancelled, platform_failed, or a code such as trap; several
    /// with commas
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = outcome)]
    pub(crate) outcome: Vec<String>,
    /// Only those with this status, such as 404, with one of a class, such as 5xx, or none
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<Statuses>,
    /// Only those whose figures are not what both node and gateway say
    #[arg(long)]
    pub(crate) flagged: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// `receipts`
#[derive(Debug, Subcommand)]
pub(crate) enum Receipts {
    /// Download settled runs as they are kept, and check them
    Download {
        #[command(flatten)]
        period: Period,
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
    }
}
