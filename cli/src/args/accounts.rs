//! The grammar of users, keys and accounts: who signs up and logs in, and what they may do.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::api::{AccountKind, Role};
use protocol::route::Scope;

use super::List;
use super::words::{role, scope};

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

/// Personal or company.
pub(crate) fn account_kind(company: bool) -> AccountKind {
    if company { AccountKind::Company } else { AccountKind::Personal }
}
