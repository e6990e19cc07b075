//! Debian's Rust for the web: installed by apt, or its packages unpacked into the cache where nobody is root. It
//! brings the standard library as source, so `-Zbuild-std` makes the wasm target without rustup.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use provision::{Apt, apt};

use crate::cache_dir;
use crate::toolchain::{last_line, output, version_word};

/// The compiler, cargo, the standard library's source, and the linker.
pub(crate) const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// The compiler's own libraries, which come along as dependencies.
const LIBRARY_PREFIX: &str = "libstd-rust-web";

/// What is installed here; apt in the cache looks away from it otherwise.
const INSTALLED: &str = "Dir::State::status=/var/lib/dpkg/status";

/// The oldest that knows this edition and `panic_abort` in `-Zbuild-std`; Debian's plain `rustc` is older.
const MINOR_MIN: u32 = 87;

/// A tree with Debian's toolchain: `/`, or where packages were unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    pub(crate) fn system() -> Self {
        Self { path: PathBuf::from("/") }
    }

    pub(crate) fn unpacked() -> Self {
        Self { path: cache_dir().join("debian") }
    }

    /// The compiler's version, if all that is needed is here and runs.
    pub(crate) fn version(&self) -> Option<String> {
        let needed = ["usr/bin/cargo", "usr/bin/rust-lld", "usr/lib/rustlib/src/rust/library/std"];
        if !needed.iter().all(|file| self.path.join(file).exists()) {
            return None;
        }
        output(self.cargo().arg("--version"))?;
        let version = version_word(&output(self.environment(&mut Command::new(self.bin("rustc"))).arg("--version"))?);
        let minor: u32 = version.split('.').nth(1)?.parse().ok()?;
        (minor >= MINOR_MIN).then_some(version)
    }

    /// Its cargo, shielded from the rustup toolchain that may have started this process.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(self.bin("cargo"));
        self.environment(&mut cargo);
        cargo
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.path.join("usr/bin").join(name)
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for name in
            ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC", "CARGO", "LD_LIBRARY_PATH"]
        {
            command.env_remove(name);
        }
        command.env("RUSTC", self.bin("rustc")).env("RUSTC_BOOTSTRAP", "1");
        // The compiler looks its linker up in PATH.
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.path.join("usr/bin")).chain(std::env::split_paths(&rest));
        if let Ok(joined) = std::env::join_paths(paths) {
            command.env("PATH", joined);
        }
        if self.path != Path::new("/") {
            let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
            let libraries = [self.path.join("usr/lib").join(&multiarch), self.path.join("lib").join(&multiarch)];
            if let Ok(joined) = std::env::join_paths(libraries) {
                command.env("LD_LIBRARY_PATH", joined);
            }
        }
        command
    }
}

/// Installs the packages where that is allowed and possible, otherwise unpacks them into the cache.
pub(crate) fn fetch(progress: &dyn Fn(&str), may_install: bool) -> Result<(), String> {
    if provision::find("apt-get").is_none() {
        return Err("there is no apt-get".to_owned());
    }
    let root = output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    let mut installing = "not root".to_owned();
    if may_install && root {
        progress(&format!("installing {} by apt-get", PACKAGES.join(" ")));
        match install() {
            Ok(()) => return Ok(()),
            Err(error) => installing = error,
        }
    }
    progress(&format!("unpacking {} into {}", PACKAGES.join(" "), Root::unpacked().path.display()));
    unpack().map_err(|error| format!("apt-get install: {installing}; unpacking: {error}"))
}

fn install() -> Result<(), String> {
    // `rustc-web` takes the place of Debian's own `rustc`: never remove anything for it.
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(PACKAGES);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    if run(&mut apt).is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").arg("update"))?;
    run(&mut apt).map(drop)
}

fn unpack() -> Result<(), String> {
    let target = Root::unpacked().path;
    let fresh = target.with_extension("new");
    let io = |error: std::io::Error| format!("{}: {error}", fresh.display());
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(io)?;
    }
    std::fs::create_dir_all(&fresh).map_err(io)?;
    let text = |error: provision::Error| error.to_string();
    let download = |apt: &Apt| {
        let names: Vec<String> = closure(apt)?.into_iter().collect();
        apt.download(&names, &fresh)
    };
    Apt::open().and_then(|apt| apt.attempt(&mut |apt| download(apt))).map_err(text)?;
    for path in apt::archives(&fresh).map_err(text)? {
        apt::unpack(&path, &fresh).map_err(text)?;
        std::fs::remove_file(&path).map_err(io)?;
    }
    if target.exists() {
        std::fs::remove_dir_all(&target).map_err(io)?;
    }
    std::fs::rename(&fresh, &target).map_err(io)
}

/// The packages, the compiler's libraries, and whatever else of their dependencies this machine lacks.
fn closure(apt: &Apt) -> Result<BTreeSet<String>, provision::Error> {
    let mut names: BTreeSet<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
    let resolved = apt.resolve(&PACKAGES.map(str::to_owned))?;
    names.extend(resolved.into_iter().map(|package| package.name).filter(|name| name.starts_with(LIBRARY_PREFIX)));
    // What of the rest is here already need not be brought.
    let simulate = [&["-o", INSTALLED, "--simulate", "install"][..], &PACKAGES].concat();
    let simulation = apt.run("apt-get", &simulate);
    names.extend(missing(&simulation.unwrap_or_default()));
    Ok(names)
}

/// `Inst NAME (...)` lines of a simulated installation.
fn missing(simulation: &str) -> impl Iterator<Item = String> {
    simulation.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next()).map(str::to_owned)
}

fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if done.status.success() { Ok(done) } else { Err(format!("{name}: {}", last_line(&done.stderr))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_output_is_read() {
        let simulation = "NOTE: only a simulation\nInst libllvm22 (1:22 Debian:12 [amd64])\nConf libllvm22 (1:22)\n";
        assert_eq!(missing(simulation).collect::<Vec<_>>(), ["libllvm22"]);
    }
}
