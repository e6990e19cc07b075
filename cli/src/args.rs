//! The command line's grammar: what CONTRACT calls nouns, verbs and short cuts, and the flags that work everywhere.

mod audit;
mod filter;
pub(crate) mod flag;
mod functions;
mod jobs;
mod lend;
mod limits;
mod nodes;
mod queues;
mod runs;
mod usage;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::api::{AccountKind, Role};
use protocol::route::{Scope, Share};
use protocol::{Base, Kind, LaneChoice, PlacementClass};

pub(crate) use audit::{Audit, AuditList};
pub(crate) use filter::{Period, Selection};
pub(crate) use functions::{Aliases, Build, Deploy, Functions, Invoke, Logs, Rollback, Versions};
pub(crate) use jobs::{Jobs, SubmitJob, Triggers};
pub(crate) use lend::{Caps, LENT, Lend, LendStart, LendVerb, LentFlags, LocalNode};
pub(crate) use nodes::{AsOperator, NodeTokens, Nodes};
pub(crate) use queues::{Held, Queues};
pub(crate) use runs::{Invocations, Receipts, RunFilter};
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

/// Flags of every command. A flag wins over `CROWDCLOUD_*`, that over crowdcloud.toml, that over the user's file.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The account to act for
    #[arg(long, global = true, env = "CROWDCLOUD_ACCOUNT", value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// The platform's URL
    #[arg(long, global = true, env = "CROWDCLOUD_URL")]
    pub(crate) url: Option<String>,
    /// The profile in the user's configuration file
    #[arg(long, global = true, env = "CROWDCLOUD_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Answer in JSON; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No hints and no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Yes to every question
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// Ask nothing: what is missing is an error
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorWhen,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
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
        /// The data folder of `crowdcloud up`
        #[arg(long, value_name = "DIR", default_value = ".crowdcloud", env = "CROWDCLOUD_DATA")]
        data: PathBuf,
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

/// `signup`
#[derive(Debug, Args)]
pub(crate) struct Signup {
    /// Your e-mail address
    #[arg(long)]
    pub(crate) email: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
    /// The name of your account: a part of your functions' URLs
    #[arg(long, value_name = "NAME")]
    pub(crate) account_name: Option<String>,
    /// A company's account, with members
    #[arg(long)]
    pub(crate) company: bool,
    /// Join the account that invited you: the link, or its last part
    #[arg(long, value_name = "LINK")]
    pub(crate) invitation: Option<String>,
    /// The one-time token (or link) that makes the operator
    #[arg(long, value_name = "LINK", env = "CROWDCLOUD_OPERATOR_TOKEN", hide_env_values = true)]
    pub(crate) operator_token: Option<String>,
    /// The code that was sent to your address, where the platform asks for one
    #[arg(long)]
    pub(crate) code: Option<String>,
}

/// Where a password comes from: never from an argument, which others on the machine could read.
#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Read the password from a file
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Who logs in.
#[derive(Debug, Args)]
pub(crate) struct Credentials {
    /// Your e-mail address
    #[arg(long)]
    pub(crate) email: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
    /// The code of your second factor, where you have one: of the app, or a recovery code
    #[arg(long)]
    pub(crate) code: Option<String>,
}

/// `login`
#[derive(Debug, Args)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) credentials: Credentials,
    /// Read an API key from standard input, instead of an address and a password
    #[arg(long, conflicts_with_all = ["email", "password_stdin", "password_file", "code"])]
    pub(crate) key_stdin: bool,
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

/// `keys`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List them
    List(List),
    /// Make one; its secret is shown once
    Create {
        /// For people
        name: String,
        /// What it may do: invoke, read, deploy, admin; again for more
        #[arg(long, value_parser = scope, default_value = "invoke")]
        scope: Vec<Scope>,
        /// Only for this function
        #[arg(long)]
        function: Option<String>,
        /// Ends after so many days
        #[arg(long, value_name = "DAYS")]
        expires_days: Option<u32>,
    },
    /// Revoke one, by its id
    Delete { key: String },
}

/// `accounts`
#[derive(Debug, Subcommand)]
pub(crate) enum Accounts {
    /// List yours
    List,
    /// Make another one; needs a log-in
    Create {
        name: String,
        /// A company's account, with members
        #[arg(long)]
        company: bool,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Delete one, with all that it has; needs a log-in
    Delete {
        name: String,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// List the members
    Members,
    /// Make a link that lets somebody join
    Invite {
        /// For whom, as a note
        email: Option<String>,
        /// What they may do: member, admin, owner
        #[arg(long, value_parser = role, default_value = "member")]
        role: Role,
    },
    /// Remove a member; says first what they made
    Remove {
        /// The e-mail address, or the id
        member: String,
        /// Keys that they made go on, as yours; otherwise they end
        #[arg(long)]
        take_over_keys: bool,
    },
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

/// Personal or company.
pub(crate) fn account_kind(company: bool) -> AccountKind {
    if company { AccountKind::Company } else { AccountKind::Personal }
}

/// A word of an enum, as the API writes it.
fn word<T: serde::de::DeserializeOwned>(text: &str, expected: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| format!("expected one of {expected}"))
}

fn lane(text: &str) -> Result<LaneChoice, String> {
    word(text, "auto, wasm, vm")
}

fn kind(text: &str) -> Result<Kind, String> {
    word(text, "http, command, server")
}

/// Each with who could read the work.
fn placement() -> impl TypedValueParser<Value = PlacementClass> {
    let values = PlacementClass::ALL.map(|class| PossibleValue::new(class.as_str()).help(class.readers()));
    PossibleValuesParser::new(values).try_map(|text| word::<PlacementClass>(&text, "own, operator, verified, any"))
}

fn scope(text: &str) -> Result<Scope, String> {
    word(text, "invoke, read, deploy, admin")
}

fn role(text: &str) -> Result<Role, String> {
    word(text, "member, admin, owner")
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn version(text: &str) -> Result<u32, String> {
    text.strip_prefix('v').unwrap_or(text).parse().map_err(|_| "expected a version such as v3".to_owned())
}

fn share(text: &str) -> Result<Share, String> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "100"));
    let weight = weight.parse().ok().filter(|weight| *weight <= 100).ok_or("a share is 0 to 100")?;
    Ok(Share { version: version(name)?, weight })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn f34_advice_can_be_followed() {
        use clap::error::ErrorKind;
        let mut commands = 0;
        for code in protocol::Code::ALL {
            for command in code.help().split('`').filter(|quoted| quoted.starts_with("crowdcloud ")) {
                commands += 1;
                if let Err(error) = Cli::try_parse_from(command.split_whitespace()) {
                    // Values of the user's own are left out of an advice, or stand there by their names.
                    let open = [ErrorKind::MissingRequiredArgument, ErrorKind::ValueValidation];
                    assert!(open.contains(&error.kind()), "{code}: {command}: {error}");
                }
            }
        }
        assert!(commands > 3);
    }

    #[test]
    fn versions_of_a_function_need_no_verb() {
        let cli = Cli::try_parse_from(["crowdcloud", "versions", "thumbs", "--json"]).unwrap();
        assert!(cli.global.json);
        assert!(matches!(cli.command, Command::Versions { function: Some(name), verb: None } if name == "thumbs"));
    }

    #[test]
    fn lend_joins_and_its_verbs_speak_to_a_node() {
        let lend = |line: &str| match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Lend(lend) => lend,
            other => panic!("{other:?}"),
        };
        let join = lend("crowdcloud lend --token ccl1_x --yes --cores 1 --data /d --no-vm");
        assert!(
            join.is_node() && join.start.no_vm == Some(true) && join.start.token.is_some() && join.which.data.is_some()
        );
        assert!(lend("crowdcloud lend").is_node() && lend("crowdcloud lend leave --data /d").is_node());
        for verb in ["status --watch", "pause --for 2h", "resume", "drain", "caps", "caps set --cores 1"] {
            let spoken = lend(&format!("crowdcloud lend {verb} --data /d --node local-1"));
            assert!(!spoken.is_node() && spoken.which.data.is_some(), "{verb}");
        }
    }

    #[test]
    fn caps_that_no_machine_has_are_refused_with_their_flag_and_range() {
        let said = |line: String| Cli::try_parse_from(line.split_whitespace()).err().unwrap().to_string();
        for (flag, range) in [
            ("--cores 0", "1 to"),
            ("--cores 5000", "1 to"),
            ("--memory 0", "16MiB to"),
            ("--memory 9000TiB", "16MiB to"),
            ("--disk 0", "64MiB or more"),
        ] {
            for verb in ["", "caps set"] {
                let said = said(format!("crowdcloud lend {verb} {flag}"));
                let (name, _) = flag.split_once(' ').unwrap();
                assert!(said.contains(name) && said.contains(range), "{said}");
            }
        }
    }

    #[test]
    fn a_pause_lasts() {
        for line in ["crowdcloud lend pause --for", "crowdcloud nodes pause attic --for"] {
            let parse = |lasts: &str| Cli::try_parse_from(format!("{line} {lasts}").split_whitespace());
            assert!(parse("1ms").is_ok());
            let said = parse("0s").err().unwrap().to_string();
            assert!(said.contains("--for") && said.contains("more than 0s"), "{said}");
        }
    }

    #[test]
    fn egress_is_lent_where_it_is_said_and_local_nodes_have_it() {
        let command = |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command);
        let lend = |line: &str| match command(line).unwrap() {
            Command::Lend(lend) => lend.start.egress == Some(true),
            other => panic!("{other:?}"),
        };
        assert!(!lend("crowdcloud lend") && lend("crowdcloud lend --egress"));
        let up = |line: &str| match command(line).unwrap() {
            Command::Up(up) => up.no_egress,
            other => panic!("{other:?}"),
        };
        assert!(!up("crowdcloud up") && up("crowdcloud up --no-egress"));
        assert!(command("crowdcloud lend --no-egress").is_err() && command("crowdcloud up --egress").is_err());
    }

    #[test]
    fn shares_read_as_in_the_contract() {
        assert_eq!(share("v3=90"), Ok(Share { version: 3, weight: 90 }));
        assert_eq!(share("v4"), Ok(Share { version: 4, weight: 100 }));
        assert!(share("v4=101").is_err());
        assert!(share("x=1").is_err());
    }
}
