//! The platform on this machine: `up`, and each service as a hidden subcommand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::failure::{Exit, Failure};

/// `up`
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// The folder with all data
    #[arg(long, value_name = "DIR", default_value = ".crowdcloud", env = "CROWDCLOUD_DATA")]
    pub(crate) data: PathBuf,
}

/// The services.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ServiceCommand {
    /// The public door
    #[command(hide = true)]
    Gateway,
}

pub(crate) fn up(_args: &UpArgs, _global: &Global) -> Result<(), Failure> {
    Err(Failure::new(Exit::Platform, "todo", "not yet"))
}

pub(crate) fn service(_service: ServiceCommand, _global: &Global) -> Result<(), Failure> {
    Err(Failure::new(Exit::Platform, "todo", "not yet"))
}

pub(crate) fn nats_binary() -> Result<PathBuf, Failure> {
    Err(Failure::new(Exit::Platform, "todo", "not yet"))
}

pub(crate) fn pids(_data: &Path) -> BTreeMap<String, u32> {
    BTreeMap::new()
}
