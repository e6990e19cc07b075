//! The grammar of the store's master keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXPORT_EXAMPLES: &str = "Examples:
  crowdcloud store key export -o keys.json --passphrase-file secret.txt     then keep both, in two other places";

/// `store key`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreKey {
    /// Write all keys into a file, to be kept somewhere else; without them no backup can be read
    Export(ExportKeys),
    /// Put an export's keys into the folder; a platform that runs takes them within seconds
    Import(ImportKeys),
    /// Make a new key; the platform goes over to it, and deletes the old one when no blob needs it
    Rotate(KeyPlace),
}

/// `store key export`
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(crate) struct ExportKeys {
    /// The file; there must be none of this name yet
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Encrypt the keys under the passphrase in this file
    #[arg(long, value_name = "FILE", required_unless_present = "plain")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Do not encrypt them: whoever reads the file can read the store
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) plain: bool,
    #[command(flatten)]
    pub(crate) place: KeyPlace,
}

/// `store key import`
#[derive(Debug, Args)]
pub(crate) struct ImportKeys {
    /// What `store key export` has written
    pub(crate) file: PathBuf,
    /// The file with its passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: KeyPlace,
}

/// Where the keys are.
#[derive(Debug, Args)]
pub(crate) struct KeyPlace {
    /// The data folder of `crowdcloud up`
    #[arg(long, value_name = "DIR", default_value = ".crowdcloud", env = "CROWDCLOUD_DATA")]
    pub(crate) data: PathBuf,
    /// The folder of keys of a control plane; `store-keys` in the data folder
    #[arg(long, value_name = "DIR", env = "CROWDCLOUD_STORE_KEYS")]
    pub(crate) keys: Option<PathBuf>,
}
