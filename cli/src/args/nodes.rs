//! The grammar of lenders' machines, as their owners and the operator see them.

use clap::{Args, Subcommand};
use protocol::Millis;

use super::{Credentials, List};

/// `nodes`
#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// List them
    List {
        #[command(flatten)]
        list: List,
        /// Those too that have left, or were revoked
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        who: AsOperator,
    },
    /// One in full: its state, load, caps and speed, what it did, how far it is trusted and what it lacks, its checks
    Show {
        /// The node's name or id
        node: String,
        #[command(flatten)]
        who: AsOperator,
    },
    /// Take a machine of yours back: nothing new is taken, and what runs is given back
    Pause {
        /// The node's name or id
        node: String,
        /// For so long; without it until resumed
        #[arg(long = "for", value_name = "TIME", value_parser = super::lend::some_time)]
        lasts: Option<Millis>,
    },
    /// Let a machine of yours take nothing new, and finish what runs
    Drain {
        /// The node's name or id
        node: String,
    },
    /// Lend a machine of yours again, after `pause` or `drain`; as the operator, let a suspended node in again
    Resume {
        /// The node's name or id
        node: String,
        #[command(flatten)]
        who: AsOperator,
    },
    /// Confirm that a node is the machine that you mean: `own` placement may use it then; needs a log-in
    Confirm {
        /// The node's name or id
        node: String,
        /// What `crowdcloud lend` shows on the machine; asked for otherwise
        #[arg(long)]
        fingerprint: Option<String>,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Vouch for all nodes of an account, or for one, as the operator; needs a log-in
    Vouch {
        /// The account's name, or the node's name or id
        #[arg(value_name = "ACCOUNT|NODE")]
        whom: String,
        /// The account of this name is meant, whatever nodes are called
        #[arg(long)]
        whole_account: bool,
        /// No longer
        #[arg(long)]
        withdraw: bool,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Tokens with which machines join
    #[command(visible_alias = "token")]
    Tokens {
        #[command(subcommand)]
        verb: Option<NodeTokens>,
    },
    /// Revoke a node for good: it gets no more runs, and nothing that it says is heard
    Revoke {
        /// The node's name or id
        node: String,
        #[command(flatten)]
        who: AsOperator,
    },
    /// Suspend a node, as the operator, until it is resumed; needs a log-in
    Suspend {
        /// The node's name or id
        node: String,
        /// Why: its owner reads it
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        credentials: Credentials,
    },
}

/// Whether the operator asks, who logs in for it: an API key is an account's.
#[derive(Debug, Args)]
pub(crate) struct AsOperator {
    /// As the operator, whoever the node's owner is; needs a log-in
    #[arg(long)]
    pub(crate) as_operator: bool,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
}

/// `nodes tokens`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeTokens {
    /// List those of the last week
    List(List),
    /// Delete one: no machine joins with it any more
    Delete {
        /// Its name or id
        token: String,
    },
    /// Make one: a machine joins the account with it, once, within an hour
    Create {
        /// The machine's name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
}
