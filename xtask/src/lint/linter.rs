//! Clippy and rustdoc beside the compiler, for CI. `cargo clippy` and `cargo doc` read all dependencies once more than the
//! build does, which on two cores takes minutes of a cold run. Here cargo starts this program in rustc's place for our own
//! crates: it starts rustc as it was told to, and beside it clippy and rustdoc on the same sources, with the dependencies
//! that the build has made. What is built and tested is what rustc makes, as anywhere else.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use anyhow::Context;

use crate::build::APART;
use crate::workspace::Workspace;

/// The name by which cargo starts this program instead of rustc.
const NAME: &str = "rustc-and-linters";
/// As `cargo clippy -- --deny warnings` hands it over.
const DENY_WARNINGS: (&str, &str) = ("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");

/// The program that cargo starts instead of rustc.
#[derive(Debug, Clone)]
pub(crate) struct Linter {
    program: PathBuf,
}

impl Linter {
    /// Puts a copy of this program into the target folder: xtask itself is among what is built with it.
    pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<Self> {
        // To cargo another path is another compiler: with other settings all is linted anew.
        let settings = fs::read(workspace.root.join("clippy.toml")).unwrap_or_default();
        let folder = workspace.target.join("lint").join(format!("{:016x}", fnv(&settings)));
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let (program, new) = (folder.join(NAME), folder.join("new"));
        fs::copy(std::env::current_exe()?, &new)
            .and_then(|_| fs::rename(&new, &program))
            .with_context(|| format!("{} cannot be written", program.display()))?;
        Ok(Self { program })
    }

    /// What this cargo compiles of ours is linted; warnings are errors. Not by the environment, which cargo would hand on
    /// to what the tests build.
    pub(crate) fn lint(&self, cargo: &mut Command) {
        let program = serde_json::Value::from(self.program.to_string_lossy().into_owned());
        cargo.args(["--config", &format!("build.rustc-workspace-wrapper={program}")]);
    }
}

/// A digest that stays the same on every machine.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether cargo has started this program instead of rustc.
pub(crate) fn is_compiler() -> bool {
    std::env::args_os().next().is_some_and(|own| Path::new(&own).file_name() == Some(OsStr::new(NAME)))
}

/// Runs rustc as cargo wants it, and beside it the linters; all must succeed.
pub(crate) fn compile() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next().context("cargo names no compiler")?;
    let arguments: Vec<OsString> = arguments.collect();
    let mut compiler = Command::new(&rustc);
    compiler.args(&arguments);
    // Without it cargo only asks what the compiler can do.
    let Some(out) = value_of(&arguments, "--out-dir") else {
        return Ok(code(compiler.status()?.success()));
    };
    let name = value_of(&arguments, "--crate-name").unwrap_or_default().to_string_lossy().into_owned();
    let scratch = Path::new(out).with_file_name("lint").join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("{} cannot be made", scratch.display()))?;
    let mut linters = vec![clippy(&rustc, &arguments, &scratch)];
    if std::env::var("CARGO_PKG_NAME").is_ok_and(|package| is_documented(&package, &name, &arguments)) {
        linters.push(rustdoc(&rustc, &arguments, &scratch));
    }
    let (compiled, linted) = std::thread::scope(|scope| {
        let linters: Vec<_> = linters.iter_mut().map(|linter| scope.spawn(move || linter.output())).collect();
        let compiled = compiler.status();
        (compiled, linters.into_iter().map(|linter| linter.join()).collect::<Vec<_>>())
    });
    let mut passed = compiled.context("rustc cannot be run")?.success();
    for linted in linted {
        let linted = linted.map_err(|_| anyhow::anyhow!("linting panicked"))?;
        passed &= tell(&linted.context("the toolchain lacks clippy or rustdoc: `rustup component add clippy`")?);
    }
    let _ = fs::remove_dir_all(&scratch);
    Ok(code(passed))
}

/// Passes on what a linter has said, for cargo to show: after the compiler, whose lines cargo goes by.
fn tell(linted: &Output) -> bool {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(&linted.stderr);
    linted.status.success()
}

fn code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Clippy as cargo would call it to check the same.
fn clippy(rustc: &OsStr, arguments: &[OsString], scratch: &Path) -> Command {
    let mut clippy = Command::new(beside(rustc, "clippy-driver"));
    clippy.arg(rustc).args(for_clippy(arguments)).arg("--emit=metadata").arg("--out-dir").arg(scratch);
    clippy.env(DENY_WARNINGS.0, DENY_WARNINGS.1);
    clippy
}

/// Rustdoc as `cargo doc` would call it; its pages are not kept.
fn rustdoc(rustc: &OsStr, arguments: &[OsString], scratch: &Path) -> Command {
    let mut rustdoc = Command::new(beside(rustc, "rustdoc"));
    rustdoc.args(for_rustdoc(arguments)).args(["--deny", "warnings", "--out-dir"]).arg(scratch.join("doc"));
    // Of a program all is private.
    if value_of(arguments, "--crate-type").is_some_and(|kind| kind == "bin") {
        rustdoc.arg("--document-private-items");
    }
    rustdoc
}

/// A program of the same toolchain.
fn beside(rustc: &OsStr, name: &str) -> PathBuf {
    let program = Path::new(rustc).with_file_name(name);
    if program.is_file() { program } else { name.into() }
}

/// Whether `cargo doc` would read it, and xtask asks for that.
fn is_documented(package: &str, name: &str, arguments: &[OsString]) -> bool {
    !APART.contains(&package)
        && !name.starts_with("build_script")
        && !arguments.iter().any(|argument| argument == "--test")
}

/// The argument after this one.
fn value_of<'a>(arguments: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(OsString::as_os_str)
}

/// The same without results: neither where they go nor what they are, and nothing that tells cargo of a file.
fn for_clippy(arguments: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str().unwrap_or_default() {
            "--out-dir" => {
                arguments.next();
            }
            "-C" => {
                let option = arguments.next().cloned().unwrap_or_default();
                if !option.to_string_lossy().starts_with("incremental=") {
                    kept.extend([argument.clone(), option]);
                }
            }
            text if text.starts_with("--emit=") => {}
            text if text.starts_with("--json=") => kept.push(without_artifacts(text)),
            _ => kept.push(argument.clone()),
        }
    }
    kept
}

/// What both rustc and rustdoc understand: the sources, what they are compiled as, and their dependencies.
fn for_rustdoc(arguments: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str().unwrap_or_default() {
            "--crate-name" | "--crate-type" | "--cfg" | "--check-cfg" | "--extern" | "-L" => {
                kept.push(argument.clone());
                kept.extend(arguments.next().cloned());
            }
            // Their values are no sources.
            "--out-dir" | "-C" => {
                arguments.next();
            }
            text if text.starts_with("--json=") => kept.push(without_artifacts(text)),
            text if text.starts_with("--edition=") || text.starts_with("--error-format=") || text.ends_with(".rs") => {
                kept.push(argument.clone());
            }
            _ => {}
        }
    }
    kept
}

/// Cargo would begin with the next crate when it is told of a linter's file.
fn without_artifacts(json: &str) -> OsString {
    let kinds = json.trim_start_matches("--json=").split(',').filter(|kind| *kind != "artifacts");
    format!("--json={}", kinds.collect::<Vec<_>>().join(",")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// As cargo 1.95 calls rustc for a library, but for the paths.
    const LIBRARY: &str = "--crate-name store --edition=2024 store/src/lib.rs --error-format=json \
        --json=diagnostic-rendered-ansi,artifacts,future-incompat --crate-type lib --emit=dep-info,metadata,link \
        -C opt-level=1 -C embed-bitcode=no --warn=clippy::todo --check-cfg cfg(test) -C metadata=1 \
        -C extra-filename=-1 --out-dir /t/ci/deps -C incremental=/t/ci/incremental -L dependency=/t/ci/deps \
        --extern bytes=/t/ci/deps/libbytes-2.rmeta";

    #[test]
    fn clippy_gets_all_but_where_results_go() {
        let expected = "--crate-name store --edition=2024 store/src/lib.rs --error-format=json \
            --json=diagnostic-rendered-ansi,future-incompat --crate-type lib -C opt-level=1 -C embed-bitcode=no \
            --warn=clippy::todo --check-cfg cfg(test) -C metadata=1 -C extra-filename=-1 -L dependency=/t/ci/deps \
            --extern bytes=/t/ci/deps/libbytes-2.rmeta";
        assert_eq!(for_clippy(&words(LIBRARY)), words(expected));
    }

    #[test]
    fn rustdoc_gets_sources_and_dependencies() {
        let expected = "--crate-name store --edition=2024 store/src/lib.rs --error-format=json \
            --json=diagnostic-rendered-ansi,future-incompat --crate-type lib --check-cfg cfg(test) \
            -L dependency=/t/ci/deps --extern bytes=/t/ci/deps/libbytes-2.rmeta";
        assert_eq!(for_rustdoc(&words(LIBRARY)), words(expected));
    }

    #[test]
    fn documentation_is_that_of_libraries_and_programs() {
        assert!(is_documented("store", "store", &words(LIBRARY)));
        assert!(!is_documented("store", "store", &words(&format!("{LIBRARY} --test"))));
        assert!(!is_documented("gateway", "build_script_build", &words(LIBRARY)));
        assert!(!is_documented("web", "web", &words(LIBRARY)), "xtask builds it apart");
    }
}
