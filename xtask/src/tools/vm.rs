//! What the VM lane needs: QEMU, the guests' kernel, the programs of guests, and base images. Without it functions run
//! in the wasm lane alone, so that nothing here ends a task: what is missing is one line.

use std::path::PathBuf;
use std::process::Command;

use super::apt;
use crate::steps::{Steps, quiet};
use crate::workspace::Workspace;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The first program of every guest, and the one that runs WebAssembly in it.
const PROGRAMS: [&str; 2] = ["guest-agent", "wasm-guest"];
/// They are alone in their guest: they bring all that they need.
const RUSTFLAGS: (&str, &str) =
    ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");

/// Fetches and builds what is missing.
pub(crate) fn prepare(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("the VM lane", || {
        apt::need(&[apt::Need {
            what: "QEMU",
            package: "qemu-system-x86",
            found: || apt::which("qemu-system-x86_64").is_some(),
        }])?;
        PROGRAMS.iter().try_for_each(|package| for_guests(workspace, package))?;
        // It fetches by apt, whose lists may be missing or old.
        let mut setup = Command::new(workspace.program("crowdcloud"));
        setup.arg("vm-setup");
        if quiet(&mut setup).is_err() {
            if apt::is_root() {
                quiet(Command::new("apt-get").arg("update"))?;
            }
            quiet(&mut setup)?;
        }
        Ok(())
    })
}

/// What runs in the guests that are measured.
pub(crate) struct Measured {
    /// The program.
    pub(crate) guest: PathBuf,
    /// The folder with the kernel and the agent.
    pub(crate) tools: PathBuf,
}

/// Builds the program that the guests of a benchmark run.
pub(crate) fn measured(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Measured> {
    let built = steps.run("building the benchmark's guest", || programs(workspace, "guest-agent", "--examples"))?;
    Ok(Measured { guest: built.join("examples/guest"), tools: componentize::cache_dir() })
}

/// Programs for the inside of guests, static and small; the folder that they are in.
fn programs(workspace: &Workspace, package: &str, which: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--quiet", "--package", package, "--profile", "agent", "--target", TARGET, which]);
    quiet(cargo.env(RUSTFLAGS.0, RUSTFLAGS.1))?;
    Ok(workspace.target.join(TARGET).join("agent"))
}

/// Builds a program for guests, and puts it where the local node looks for it.
fn for_guests(workspace: &Workspace, package: &str) -> anyhow::Result<()> {
    let built = programs(workspace, package, "--bins")?.join(package);
    let place = componentize::cache_dir().join(package);
    let same = |one: &PathBuf, other: &PathBuf| std::fs::read(one).ok() == std::fs::read(other).ok();
    if same(&built, &place) {
        return Ok(());
    }
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A node may be starting with the old one.
    let scratch = place.with_extension("new");
    std::fs::copy(&built, &scratch)?;
    Ok(std::fs::rename(&scratch, &place)?)
}
