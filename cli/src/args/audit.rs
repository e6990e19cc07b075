//! The grammar of the audit.

use clap::{Args, Subcommand};

use super::{List, Period};

const EXAMPLES: &str = "Examples:
  crowdcloud audit list --action function --from 7d          what became of functions in the last week
  crowdcloud audit list --actor ada@example.org --csv        all that ada changed, for a spreadsheet";

/// `audit`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List changes, the newest first; needs an admin's key
    List(AuditList),
}

/// `audit list`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditList {
    /// Only those of this one: a member's address, a key's name, an id, or platform
    #[arg(long, value_name = "WHO")]
    pub(crate) actor: Option<String>,
    /// Only these, such as function.create, or all of a kind, such as function
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only those of this: an id or a name, as the list has it
    #[arg(long, value_name = "ID")]
    pub(crate) subject: Option<String>,
    #[command(flatten)]
    pub(crate) period: Period,
    /// All of them as CSV, whatever else is asked for
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) list: List,
}
