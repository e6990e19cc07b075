//! `wasmtime serve`: the same component without a platform around it. Installed once, by cargo.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::http::{self, Target};
use crate::process::{Process, free_address};
use crate::say;

/// The same as the executor's.
const VERSION: &str = "48.0.8";

/// All that `serve` needs to run at its full speed; without what only other commands need, which takes as long again.
const FEATURES: &str = "run,serve,compile,cranelift,parallel-compilation,pooling-allocator,cache,component-model,\
                        component-model-async,threads,backtrace,addr2line,demangle,logging";

/// How it is served.
pub(crate) const DEFAULTS: &[&str] = &[];
/// The flags that were found to serve a small component fastest.
pub(crate) const BEST: &[&str] = &[
    "-O",
    "pooling-allocator=y,memory-init-cow=n,pooling-memory-keep-resident=4194304,pooling-table-keep-resident=65536,\
     pooling-pagemap-scan=y",
];

/// A running server.
pub(crate) struct Serve {
    pub(crate) address: SocketAddr,
    _server: Process,
}

impl Serve {
    pub(crate) async fn start(binary: &Path, flags: &[&str], component: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command.arg("serve").args(flags).args(["--addr", &address.to_string()]).arg(component);
        let mut server = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while http::get(&Target::new(address, "/")).await.is_err() {
            if let Some(status) = server.ended() {
                bail!("`wasmtime serve {}` ended: {status}", flags.join(" "));
            }
            ensure!(Instant::now() < deadline, "`wasmtime serve` does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { address, _server: server })
    }
}

/// The program; built when it is missing, which takes a quarter of an hour on two cores.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("CROWDCLOUD_WASMTIME") {
        return Ok(given.into());
    }
    let root = cache()?.join(format!("wasmtime-cli-{}", VERSION.split('.').next().unwrap_or(VERSION)));
    let program = root.join("bin/wasmtime");
    if program.is_file() {
        return Ok(program);
    }
    say(&format!("building wasmtime-cli {VERSION}, once; --without-wasmtime leaves it out"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut install = Command::new("nice");
    install.arg(cargo).args(["install", "wasmtime-cli", "--version", VERSION, "--locked", "--no-default-features"]);
    install.args(["--features", FEATURES, "--root"]).arg(&root);
    // Cargo's own variables would make it build for this workspace.
    install.env_remove("CARGO_TARGET_DIR").current_dir(std::env::temp_dir());
    let status = install.status().context("`nice cargo install` cannot be run")?;
    ensure!(status.success(), "wasmtime-cli cannot be installed ({status}); --without-wasmtime leaves it out");
    Ok(program)
}

fn cache() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = given.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("crowdcloud"))
}
