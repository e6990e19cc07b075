//! The command line's grammar: what CONTRACT calls nouns, verbs and short cuts, and the flags that work everywhere.

mod accounts;
mod audit;
mod filter;
pub(crate) mod flag;
mod functions;
mod global;
mod jobs;
mod lend;
mod limits;
mod nodes;
mod queues;
mod runs;
mod store;
mod store_key;
mod usage;
mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use protocol::Base;

pub(crate) use accounts::{Accounts, Credentials, Keys, Login, Password, Signup, account_kind};
pub(crate) use audit::{Audit, AuditList};
pub(crate) use filter::{Period, Selection};
pub(crate) use functions::{Aliases, Build, Deploy, Functions, Invoke, Logs, Rollback, Versions};
pub(crate) use global::{ColorWhen, Global};
pub(crate) use jobs::{Jobs, SubmitJob, Triggers};
pub(crate) use lend::{Caps, LENT, Lend, LendStart, LendVerb, LentFlags, LocalNode};
pub(crate) use nodes::{AsOperator, NodeTokens, Nodes};
pub(crate) use queues::{Held, Queues};
pub(crate) use runs::{Invocations, Receipts, RunFilter};
pub(crate) use store::StoreVerb;
pub(crate) use store_key::{ExportKeys, ImportKeys, KeyPlace, StoreKey};
pub(crate) use usage::Usage;

/// Run functions on other people's spare machines, and lend yours.
#[derive(Debug, Parser)]
#[command(name = "crowdcloud", version, max_term_width = 100, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign up, and store a key for this command line
    Signup(Signup),
    /// Log in, and store a key for this command line
    Login(Login),
    /// Revoke the stored key, and forget it
    Logout,
    /// Who the stored key is
    Whoami,
    /// Print the stored key, for other programs
    Token,
    /// Make a new function's folder from a template
    New(New),
    /// Build a function
    Build(Build),
    /// Build, upload and release a function
    Deploy(Deploy),
    /// Call a function
    Invoke(Invoke),
    /// What runs of a function, or one run, wrote
    Logs(Logs),
    /// Functions
    #[command(visible_alias = "function")]
    Functions {
        #[command(subcommand)]
        verb: Option<Functions>,
    },
    /// Versions of a function
    #[command(args_conflicts_with_subcommands = true, visible_alias = "version")]
    Versions {
        /// Lists this function's versions
        function: Option<String>,
        #[command(subcommand)]
        verb: Option<Versions>,
    },
    /// Go back to an earlier version
    Rollback(Rollback),
    /// Movable names of versions
    #[command(args_conflicts_with_subcommands = true, visible_alias = "alias")]
    Aliases {
        /// Lists this function's aliases
        function: Option<String>,
        #[command(subcommand)]
        verb: Option<Aliases>,
    },
    /// API keys
    #[command(visible_alias = "key")]
    Keys {
        #[command(subcommand)]
        verb: Option<Keys>,
    },
    /// Runs of functions: calls, and the tries of jobs
    #[command(visible_alias = "invocation")]
    Invocations {
        #[command(subcommand)]
        verb: Option<Invocations>,
    },
    /// What runs used in all: by function, by day, by whoever had them run
    Usage(Usage),
    /// Settled runs as they are kept: blocks in a chain, which cannot be changed unnoticed
    #[command(visible_alias = "receipt")]
    Receipts {
        #[command(subcommand)]
        verb: Receipts,
    },
    /// Durable runs: submitted now, done when a node has room
    #[command(visible_alias = "job")]
    Jobs {
        #[command(subcommand)]
        verb: Option<Jobs>,
    },
    /// Messages that wait for whoever leases them, or for a trigger's function
    #[command(visible_alias = "queue")]
    Queues {
        #[command(subcommand)]
        verb: Option<Queues>,
    },
    /// Jobs that submit themselves, by the clock or for each message of a queue
    #[command(visible_alias = "trigger")]
    Triggers {
        #[command(subcommand)]
        verb: Option<Triggers>,
    },
    /// Accounts and their members
    #[command(visible_alias = "account")]
    Accounts {
        #[command(subcommand)]
        verb: Option<Accounts>,
    },
    /// Who changed what in the account
    Audit {
        #[command(subcommand)]
        verb: Audit,
    },
    /// Lenders' machines
    #[command(visible_alias = "node")]
    Nodes {
        #[command(subcommand)]
        verb: Option<Nodes>,
    },
    /// The platform's disks, the copies on them and its master keys, for its operator
    Store {
        #[command(subcommand)]
        verb: StoreVerb,
    },
    /// Lend this machine to a platform; and what its owner keeps of it
    Lend(Box<Lend>),
    /// Fetch QEMU, the guests' kernel and the bases for the VM lane; `doctor` says what is missing
    VmSetup {
        /// Only this base; again for more
        #[arg(long)]
        base: Vec<Base>,
        /// The folder; the cache, where the local node looks
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Open the portal in a browser
    Open {
        /// Show this function's page
        function: Option<String>,
    },
    /// Look for what is missing or wrong on this machine
    Doctor {
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Print a shell's completion script
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Run the whole platform on this machine
    Up(Box<crate::platform::UpArgs>),
    #[command(flatten)]
    Service(crate::platform::ServiceCommand),
}

/// `new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The function's name, and its folder's
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<String>,
    /// Which template
    #[arg(long, short, default_value = "rust")]
    pub(crate) template: String,
    /// List the templates
    #[arg(long)]
    pub(crate) list: bool,
}

/// Pages of a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct List {
    /// How many
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
    /// Where the last page ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

impl List {
    /// The first page.
    pub(crate) fn first() -> Self {
        Self { limit: 50, cursor: None }
    }
}

#[cfg(test)]
mod tests;
