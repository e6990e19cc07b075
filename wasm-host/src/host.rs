//! A program: machine code, linked to what the host offers, ready to be instantiated as often as runs come.

use std::sync::Arc;

use wasmtime::component::{Component, Linker as ComponentLinker};
use wasmtime::{Config, Engine, InstancePre, Linker, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::format::Format;
use crate::guest::{ComponentGuest, ModuleGuest};
use crate::pace::Pace;
use crate::{lengths, random};

/// The settings that decide what code is made. Whoever compiles and whoever runs must agree on each.
#[must_use]
pub fn code_config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.wasm_threads(false);
    config.wasm_component_model_async(false);
    config.concurrency_support(false);
    // Copying initial data costs less than the page faults of copy-on-write: measured on virtual machines.
    config.memory_init_cow(false);
    config
}

/// A linked program, and how it has behaved. Cloning is cheap; clones share what is known.
#[derive(Clone)]
pub struct Program {
    pub(crate) code: Linked,
    pub(crate) pace: Arc<Pace>,
}

/// A program's code.
#[derive(Clone)]
pub(crate) enum Linked {
    /// Handles HTTP requests.
    Http(ProxyPre<ComponentGuest>),
    /// Runs once.
    Command(CommandPre<ComponentGuest>),
    /// Runs once, as WASI p1 knows it.
    Module(InstancePre<ModuleGuest>),
}

impl From<Linked> for Program {
    fn from(code: Linked) -> Self {
        Self { code, pace: Arc::default() }
    }
}

/// An engine, and what it offers to guests.
pub struct Host {
    engine: Engine,
    components: ComponentLinker<ComponentGuest>,
    modules: Linker<ModuleGuest>,
}

impl Host {
    /// Offers WASI, p1 and p2, on an engine that was made from [`code_config`].
    ///
    /// # Errors
    /// None is known.
    pub fn new(engine: Engine) -> wasmtime::Result<Self> {
        Ok(Self { components: component_linker(&engine)?, modules: module_linker(&engine)?, engine })
    }

    /// The engine. Its epoch must advance while guests run.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Links machine code that this very node has compiled.
    ///
    /// # Errors
    /// The code is of another engine, or wants what is not offered.
    ///
    /// # Safety
    /// `code` must be what `Engine::precompile_*` made, unchanged.
    #[allow(unsafe_code, reason = "the engine trusts machine code; whoever calls knows where it comes from")]
    pub unsafe fn load(&self, format: Format, code: &[u8]) -> wasmtime::Result<Program> {
        if format == Format::Module {
            // SAFETY: promised by the caller.
            let module = unsafe { Module::deserialize(&self.engine, code)? };
            return Ok(Linked::Module(self.modules.instantiate_pre(&module)?).into());
        }
        // SAFETY: promised by the caller.
        let component = unsafe { Component::deserialize(&self.engine, code)? };
        let linked = self.components.instantiate_pre(&component)?;
        Ok(Program::from(match format {
            Format::CommandComponent => Linked::Command(CommandPre::new(linked)?),
            _ => Linked::Http(ProxyPre::new(linked)?),
        }))
    }
}

/// What components may import: WASI p2, HTTP included. Sockets, files and hosts are there, and refused at run time.
fn component_linker(engine: &Engine) -> wasmtime::Result<ComponentLinker<ComponentGuest>> {
    let mut linker = ComponentLinker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    random::for_components(&mut linker)?;
    lengths::for_components(&mut linker)?;
    Ok(linker)
}

/// What core modules may import: WASI p1.
fn module_linker(engine: &Engine) -> wasmtime::Result<Linker<ModuleGuest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |guest: &mut ModuleGuest| &mut guest.wasi)?;
    random::for_modules(&mut linker)?;
    Ok(linker)
}
