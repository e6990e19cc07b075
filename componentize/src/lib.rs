//! From Rust source to a WASI component. `toolchain` finds (or fetches) a compiler that can make wasm, `rust` runs
//! it on a function's folder, `encode` turns the core module into a component. The CLI and xtask share it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod debian;
#[cfg(feature = "encode")]
mod encode;
mod rust;
mod toolchain;

#[cfg(feature = "encode")]
pub use encode::{EncodeError, component};
pub use provision::cache_dir;
pub use rust::{BuildError, build};
pub use toolchain::{CHOICE_VARIABLE, Toolchain, ToolchainError};

/// The target that functions and the portal are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";
