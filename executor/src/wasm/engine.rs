//! The engines that compile: everything that shapes machine code is in `wasm_host::code_config`, which the compiling
//! child, the agent and the runner in a machine share.

use wasm_host::code_config;
use wasmtime::Engine;

/// What a machine is.
const MACHINES_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// An engine that only compiles: without a pool, so that it needs little address space.
pub(crate) fn compiling_engine() -> wasmtime::Result<Engine> {
    Engine::new(&code_config())
}

/// The same for a machine, whose processor may be any of this architecture.
pub(crate) fn machines_engine() -> wasmtime::Result<Engine> {
    let mut config = code_config();
    // A target that is named is taken at its baseline: nothing of this host's own processor.
    config.target(MACHINES_TARGET)?;
    Engine::new(&config)
}
