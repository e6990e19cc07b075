//! The grammar of the store: what the operator asks the platform, and the keys on the machine with the data folder.

use clap::Subcommand;

use super::{Credentials, StoreKey};

/// `store`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
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
    /// Let an empty disk take the place of one that was lost; repair brings back the copies that were there
    Replace {
        /// The disk's name, as `status` has it, or its folder
        disk: String,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Forget a disk that is not there and will not come back; what it alone had is lost
    Forget {
        /// The disk's name, as `status` has it, or its folder
        disk: String,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Keep so many copies from now on: more are made by and by, and what is too many is deleted
    Copies {
        /// How many
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
        copies: u32,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// The master keys, under which all blobs' keys are sealed; on the machine with the data folder
    Key {
        #[command(subcommand)]
        verb: StoreKey,
    },
}
