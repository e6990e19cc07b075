//! Which programs this project calls (`programs`), where each is (`find`: `PATH`, then the cache), and how those that a
//! machine lacks get into the cache without root: Debian's packages are downloaded by `apt` and unpacked as a `tree`,
//! never installed. What can only be installed or said is in the same table.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod apt;
mod fetch;
mod find;
mod postgres;
mod preparing;
mod programs;
mod tree;

use std::path::PathBuf;

pub use self::apt::{Apt, Package};
pub use self::fetch::fetch;
pub use self::find::{command, find, in_path};
pub use self::postgres::Postgres;
pub use self::preparing::{Preparing, preparing};
pub use self::programs::{PROGRAMS, Program, Purpose, Source, program};
pub use self::tree::Tree;

/// Why a program or package cannot be brought, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that does the work failed, or is not there.
    #[error("{program}: {detail}")]
    Tool {
        /// Which.
        program: String,
        /// What it said.
        detail: String,
    },
    /// It is not among those that are unpacked into the cache.
    #[error("{0} is not brought by unpacking: install it")]
    NotUnpacked(String),
    /// What was fetched does not run.
    #[error("{program} was fetched and does not run: {detail}")]
    Broken {
        /// Which.
        program: String,
        /// What it said.
        detail: String,
    },
    /// The cache cannot be used.
    #[error("the cache {path}: {source}")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    fn tool(program: &str, detail: impl std::fmt::Display) -> Self {
        Self::Tool { program: program.to_owned(), detail: detail.to_string() }
    }

    fn cache(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Cache { path, source }
    }
}

/// Where fetched programs and shared builds stay between runs.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("crowdcloud")
}
