//! The node agent: takes runs that hold a ticket, runs them in a sandbox, and accounts for them.
//!
//! The path of a run: [`serve`] (fabric) → admission → artifacts (fetch, compile, cache) → run (the story) → wasm
//! (the lane) → journal (receipts). The executor never sees the database, and runs nothing without a ticket.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#![allow(dead_code, reason = "the agent that uses the lane comes next")]

mod config;
mod run;
mod sys;
mod wasm;

use fabric::Fabric;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// Compiling in a child process.
pub mod compile {
    /// The hidden subcommand's first argument.
    pub const SUBCOMMAND: &str = "compile-artifact";

    /// What the hidden subcommand does: compiles the artifact that its standard input names.
    #[must_use]
    pub fn child_main() -> std::process::ExitCode {
        std::process::ExitCode::FAILURE
    }
}

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fabric failed.
    #[error(transparent)]
    Fabric(#[from] fabric::FabricError),
}

/// Runs the node until `shutdown`, then drains it.
///
/// # Errors
/// When the folder, the sandbox or the fabric cannot be had.
pub async fn serve(
    config: Config,
    fabric: Fabric,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    drop((config, fabric, ready));
    shutdown.cancelled().await;
    Ok(())
}
