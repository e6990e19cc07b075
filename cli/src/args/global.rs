//! The flags that work everywhere.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// Believe these certificates, too: the platform's own, or its authority's; `login` and `lend` keep them, and with none
    /// forget them
    #[arg(long, global = true, env = "CROWDCLOUD_CA_FILE", value_name = "PEM")]
    pub(crate) ca_file: Option<PathBuf>,
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
