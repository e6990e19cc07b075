//! The grammar of queues.

use clap::{Args, Subcommand};
use protocol::{LeaseId, MessageId, Millis};

use super::List;

/// `queues`
#[derive(Debug, Subcommand)]
pub(crate) enum Queues {
    /// List them
    List(List),
    /// Show one, and how much is in it
    Show { queue: String },
    /// Make or change one; what is in it stays
    Set {
        queue: String,
        /// How long a message is leased, such as 30s
        #[arg(long)]
        lease: Option<Millis>,
        /// A message that was leased so often without an acknowledgement is dead
        #[arg(long)]
        deliveries: Option<u32>,
        /// Messages are kept for so many days
        #[arg(long)]
        days: Option<u32>,
    },
    /// Delete one with all that is in it
    Delete { queue: String },
    /// Put a message
    Put {
        queue: String,
        /// What it says: a text, @FILE, or - for standard input
        #[arg(value_name = "TEXT|@FILE|-")]
        body: String,
        /// Nobody sees it before so long has passed, such as 10m
        #[arg(long)]
        delay: Option<Millis>,
        /// The same key twice puts one message
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Lease the oldest messages: nobody else sees them for a while
    Lease {
        queue: String,
        /// So many at most
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// For so long, such as 5m; the queue's own where it is left out
        #[arg(long)]
        lease: Option<Millis>,
        /// Wait so long for the first, at most 20s
        #[arg(long)]
        wait: Option<Millis>,
    },
    /// Acknowledge a leased message: it is done, and gone
    Ack(Held),
    /// Give a leased message back: others may have it
    Release {
        #[command(flatten)]
        held: Held,
        /// Nobody sees it before so long has passed
        #[arg(long)]
        delay: Option<Millis>,
    },
    /// List the messages that wait or are leased, the oldest first; nobody takes them by that
    Messages {
        queue: String,
        #[command(flatten)]
        list: List,
    },
    /// List the messages that nobody acknowledged
    Dead {
        queue: String,
        #[command(flatten)]
        list: List,
    },
    /// Dead messages wait again: all of them, or one
    Redrive {
        queue: String,
        /// Only this one
        message: Option<MessageId>,
    },
    /// Delete a dead message, or all of them
    Discard {
        queue: String,
        /// This one
        #[arg(required_unless_present = "all")]
        message: Option<MessageId>,
        /// All that are dead
        #[arg(long, conflicts_with = "message")]
        all: bool,
    },
}

/// A leased message, as `queues lease` tells it.
#[derive(Debug, Args)]
pub(crate) struct Held {
    pub(crate) queue: String,
    pub(crate) message: MessageId,
    pub(crate) lease: LeaseId,
}
