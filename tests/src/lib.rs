//! The vocabulary of the platform's tests: start, stop and kill a real platform, run the literal commands of a user,
//! use it in a browser, find what was built before, and the set of images that people have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's harness fails loudly")]

pub mod browser;
mod cli;
mod compiled;
pub mod image_set;
mod network;
mod platform;
pub mod proxy;
mod shared;
mod tcp;

use std::path::{Path, PathBuf};

pub use cli::{Cli, Done, DoneExt, unknown_program};
pub use compiled::compiled;
pub use network::{End, Host};
pub use platform::{EMBEDDED, Platform, alive, children_of, signal, wait_until};
pub use proxy::Proxy;
pub use shared::{Step, run_steps};
pub use tcp::{Answer, http};

/// The `crowdcloud` program: `CROWDCLOUD_BIN`, or the one beside this test.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program() -> PathBuf {
    let named = std::env::var_os("CROWDCLOUD_BIN").map(PathBuf::from);
    let program = named.unwrap_or_else(|| target().join("crowdcloud"));
    assert!(program.is_file(), "{} is missing: `cargo xtask test` builds it", program.display());
    program
}

/// The folder with the programs of this build.
fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).map(Path::to_path_buf).unwrap()
}

/// The folder with the example functions.
#[must_use]
pub fn examples() -> PathBuf {
    let named = std::env::var_os("CROWDCLOUD_EXAMPLES").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions-examples"))
}

/// A built example: `hello`, `probe`, `thumbnail`, `markdown`, `shout`.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = examples().join(name).join("dist").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: build it with `cargo xtask build-guests`", path.display());
    path
}
