//! The grammar of the store, as the operator looks after it.

use clap::Subcommand;

use super::Credentials;

/// `store`
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Disks, how many copies there are of what is kept, and what is done to keep them
    Status {
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Read every byte of every copy, name what is damaged or missing, and mend it from what is whole
    Check {
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Put nothing new on a disk, and move off what it has; `status` says when it may be taken out
    Drain {
        /// The disk's name, as `status` has it, or its folder
        disk: String,
        /// Keep it after all
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        credentials: Credentials,
    },
}
