//! Arguments of what is done with functions: building, deploying, calling, versions, aliases.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::route::Share;
use protocol::{Base, Kind, LaneChoice, PlacementClass};

use super::List;
use super::limits::VersionLimits;
use super::words::{kind, lane, pair, placement, share, version};

/// `build`
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The folder with crowdcloud.toml
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// `deploy`
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// A folder with crowdcloud.toml, or an artifact
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub(crate) target: PathBuf,
    /// The function's name; needed with a file
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The alias that moves to the new version
    #[arg(long, default_value = "live")]
    pub(crate) alias: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not build
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Anybody may call it
    #[arg(long, conflicts_with = "private")]
    pub(crate) public: bool,
    /// Only with a key
    #[arg(long)]
    pub(crate) private: bool,
    #[command(flatten)]
    pub(crate) limits: VersionLimits,
    /// The sandbox: auto, wasm, vm
    #[arg(long, value_parser = lane)]
    pub(crate) lane: Option<LaneChoice>,
    /// How it is spoken to: http, command, server
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// What a script, an executable or an archive of files stands on: python, shell
    #[arg(long)]
    pub(crate) base: Option<Base>,
    /// What to start in the VM lane, in words as a shell reads them, such as "/app/run --name 'two words'"
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Whose nodes to trust
    #[arg(long, value_parser = placement())]
    pub(crate) placement: Option<PlacementClass>,
    /// A host that it may call; again for more
    #[arg(long, value_name = "HOST")]
    pub(crate) egress: Vec<String>,
    /// An environment variable; again for more
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
}

/// `invoke`
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// FUNCTION, FUNCTION@v3, FUNCTION@alias, or ACCOUNT/FUNCTION
    pub(crate) function: String,
    /// Path and query
    #[arg(default_value = "")]
    pub(crate) path: String,
    /// The method; POST where there is a body
    #[arg(short = 'X', long)]
    pub(crate) method: Option<String>,
    /// A header; again for more
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// The body: a text, @FILE, or - for standard input
    #[arg(short, long, value_name = "TEXT|@FILE|-")]
    pub(crate) data: Option<String>,
    /// Write the answer's body to this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show the answer's status and headers too
    #[arg(short, long)]
    pub(crate) include: bool,
    /// Make a job of it, and print its id
    #[arg(long = "async")]
    pub(crate) later: bool,
    /// With --async: wait for its end, and print the answer
    #[arg(long, requires = "later")]
    pub(crate) wait: bool,
}

/// `logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A function's name, or a run's id
    #[arg(value_name = "FUNCTION|RUN")]
    pub(crate) target: String,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Not older than this, such as 1h
    #[arg(long, value_name = "AGE")]
    pub(crate) since: Option<protocol::Millis>,
}

/// `rollback`
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The function
    pub(crate) function: String,
    /// The version, such as v3; the one before where it is left out
    #[arg(long, value_parser = version, value_name = "VERSION")]
    pub(crate) to: Option<u32>,
}

/// `functions`
#[derive(Debug, Subcommand)]
pub(crate) enum Functions {
    /// List them
    List {
        /// Those that were deleted and can be brought back
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        list: List,
    },
    /// Show one
    Show { function: String },
    /// Make one, without a version yet
    Create {
        function: String,
        /// Anybody may call it
        #[arg(long)]
        public: bool,
    },
    /// Change who may call it
    Set {
        function: String,
        /// Anybody may call it
        #[arg(long, conflicts_with = "private", required_unless_present_any = ["private", "placement"])]
        public: bool,
        /// Only with a key
        #[arg(long)]
        private: bool,
        /// A version's, and not set here
        #[arg(long, hide = true)]
        placement: Option<String>,
    },
    /// Give one another name; its versions, aliases, keys, triggers, jobs and usage stay its own
    Rename {
        function: String,
        /// What it is called from now on
        #[arg(value_name = "NEW")]
        name: String,
    },
    /// Delete one, with its versions
    Delete { function: String },
    /// Bring back the one of this name that was deleted last
    Restore { function: String },
}

/// `versions`
#[derive(Debug, Subcommand)]
pub(crate) enum Versions {
    /// List a function's
    List {
        function: String,
        #[command(flatten)]
        list: List,
    },
    /// Show one
    Show {
        function: String,
        #[arg(value_parser = version)]
        version: u32,
    },
}

/// `aliases`
#[derive(Debug, Subcommand)]
pub(crate) enum Aliases {
    /// List a function's
    List { function: String },
    /// Move one: `v3`, or shares: `v3=90 v4=10`
    Set {
        function: String,
        alias: String,
        #[arg(required = true, value_parser = share, value_name = "VERSION[=SHARE]")]
        shares: Vec<Share>,
    },
    /// Delete one
    Delete { function: String, alias: String },
}
