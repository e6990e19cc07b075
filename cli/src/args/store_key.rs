//! The grammar of the store's master keys.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};

const EXPORT_EXAMPLES: &str = "Examples:
  crowdcloud store key export -o keys.json --passphrase-file secret.txt     then keep both, in two other places";

/// `store key`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreKey {
    /// Write all keys into a file, to be kept somewhere else; without them no backup can be read
    Export(ExportKeys),
    /// Put an export's keys into the folder; a platform that runs takes them within seconds
    Import(ImportKeys),
    /// Make a new key; the platform goes over to it, and deletes the old one when no blob needs it and an export has both
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
struct KeyFlags {
    /// The data folder of `crowdcloud up`
    #[arg(long, value_name = "DIR", default_value = ".crowdcloud", env = "CROWDCLOUD_DATA")]
    data: PathBuf,
    /// The folder of keys of a control plane; `store-keys` in the data folder
    #[arg(long, value_name = "DIR", alias = "store-keys", env = "CROWDCLOUD_STORE_KEYS")]
    keys: Option<PathBuf>,
}

/// Where the keys are.
#[derive(Debug)]
pub(crate) struct KeyPlace {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The folder of keys, where it is named.
    pub(crate) keys: Option<PathBuf>,
    /// What the environment names as the folder of keys, where `--data` has another one.
    pub(crate) unused: Option<PathBuf>,
}

impl KeyPlace {
    /// Who types `--data` means the keys of that folder, whatever the environment says.
    fn of(flags: KeyFlags, is_data_typed: bool, is_keys_typed: bool) -> Self {
        let KeyFlags { data, keys } = flags;
        if is_data_typed && !is_keys_typed {
            return Self { data, keys: None, unused: keys };
        }
        Self { data, keys, unused: None }
    }
}

impl Args for KeyPlace {
    fn augment_args(command: Command) -> Command {
        KeyFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        KeyFlags::augment_args_for_update(command)
    }
}

impl FromArgMatches for KeyPlace {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_typed = |flag| matches.value_source(flag) == Some(ValueSource::CommandLine);
        Ok(Self::of(KeyFlags::from_arg_matches(matches)?, is_typed("data"), is_typed("keys")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command as Verb};

    #[test]
    fn the_folder_that_is_typed_is_meant() {
        // The environment names other keys.
        let flags = || KeyFlags { data: "there".into(), keys: Some("keys".into()) };
        let place = KeyPlace::of(flags(), true, false);
        assert_eq!((place.keys, place.unused), (None, Some("keys".into())));
        for (is_data_typed, is_keys_typed) in [(false, false), (true, true), (false, true)] {
            let place = KeyPlace::of(flags(), is_data_typed, is_keys_typed);
            assert_eq!((place.keys, place.unused), (Some("keys".into()), None));
        }
    }

    #[test]
    fn keys_are_named_as_the_control_plane_names_them() {
        for line in ["doctor --data x --keys k", "doctor --data x --store-keys k"] {
            let words = ["crowdcloud"].into_iter().chain(line.split_whitespace());
            let place = match Cli::try_parse_from(words).unwrap().command {
                Verb::Doctor { place } => place,
                other => panic!("{other:?}"),
            };
            assert_eq!((place.data, place.keys, place.unused), ("x".into(), Some("k".into()), None));
        }
    }
}
