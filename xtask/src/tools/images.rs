//! The set of images that tests run and `bench images` measures. Packages are fetched and images made once for this
//! machine, by the program `image-set` of the tests: the recipes are there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::pip;
use crate::steps::{Steps, succeed};
use crate::workspace::Workspace;

/// Makes what is missing; puts copies into a folder where one is named. Who waits hears which image is being made.
pub(crate) fn prepare(workspace: &Workspace, steps: &mut Steps, into: Option<&Path>) -> anyhow::Result<()> {
    steps.run("the set of images", || {
        pip::find()?;
        let mut make = Command::new(workspace.program("image-set"));
        succeed(make.args(into).stdin(Stdio::null()).stdout(Stdio::null()))
            .context("it takes apt-get, npm, pip and openssl, and the registries that these ask")
    })
}
