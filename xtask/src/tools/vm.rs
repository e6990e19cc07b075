//! What the VM lane needs: QEMU, the guests' kernel, the programs of guests, and base images. Nobody needs to be root for
//! any of it. Without it functions run in the wasm lane alone, so that nothing here ends a task: what is missing is said.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use provision::Preparing;

use crate::steps::{Steps, say, seconds, succeed};
use crate::workspace::{Profile, Workspace};

/// The hidden task that prepares the lane beside a platform.
pub(crate) const TASK: &str = "vm-lane";

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// They are alone in their guest: they bring all that they need.
const RUSTFLAGS: (&str, &str) =
    ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
/// Who waits hears something this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// A program of guests, and how it is built.
struct Guest {
    package: &'static str,
    profile: &'static str,
    /// The profile in CI.
    ci: &'static str,
}

/// The first program of every guest: soon built, and in CI as anywhere.
const AGENT: Guest = Guest { package: "guest-agent", profile: "agent", ci: "agent" };
/// Runs WebAssembly in a guest.
const RUNNER: Guest = Guest { package: "wasm-guest", profile: "runner", ci: "runner-ci" };

impl Guest {
    fn profile(&self, workspace: &Workspace) -> &'static str {
        match workspace.profile {
            Profile::Release => self.profile,
            Profile::Ci => self.ci,
        }
    }
}

/// Fetches and builds what is missing.
pub(crate) fn prepare(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    prepare_with(workspace, steps, || workspace.program("crowdcloud"))
}

/// The same; `program` returns when that program is there, which fetches.
fn prepare_with(
    workspace: &Workspace,
    steps: &mut Steps,
    program: impl FnOnce() -> PathBuf + Send,
) -> anyhow::Result<()> {
    steps.run("the VM lane", || {
        let progress = Progress { sign: turn(&provision::cache_dir())?, now: Mutex::default() };
        with_progress(&progress, || parts(workspace, &progress, program))
    })
}

/// Starts this very program to prepare the lane while a platform is built and runs; it ends with the process that this one
/// becomes, and gives way to it until then. Its standard input ends when the platform is built: when whoever has started it
/// drops that, or becomes the platform.
pub(crate) fn beside(workspace: &Workspace) -> anyhow::Result<Child> {
    let mut task = Command::new("nice");
    task.arg(std::env::current_exe()?).arg(TASK).arg(workspace.program("crowdcloud"));
    task.args((workspace.profile == Profile::Ci).then_some("--ci"));
    task.stdin(Stdio::piped()).stdout(Stdio::null());
    own_group(&mut task);
    let mut child = task.spawn().context("the VM lane's preparation cannot be started")?;
    // A node that starts now must find the sign, and not the parts of an older build.
    let until = Instant::now() + Duration::from_secs(10);
    while provision::preparing(&provision::cache_dir()).is_none()
        && child.try_wait()?.is_none()
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}

/// Tells it that the platform is built.
pub(crate) fn is_built(lane: &mut Child) {
    drop(lane.stdin.take());
}

/// Waits for the lane, now that the platform is built.
pub(crate) fn wait(mut lane: Child) -> anyhow::Result<()> {
    is_built(&mut lane);
    let ended = lane.wait()?;
    ensure!(ended.success(), "its parts could not be made; why, is said above");
    Ok(())
}

/// The hidden task: prepares the lane, unless its parent ends before.
pub(crate) fn task(workspace: &Workspace, steps: &mut Steps, program: PathBuf) -> anyhow::Result<()> {
    end_with_parent();
    let built = || {
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        program
    };
    prepare_with(workspace, steps, built).context("functions run in the wasm lane alone; no VM lane")?;
    say("the VM lane's parts are there; nodes take them within seconds: `crowdcloud nodes list`");
    Ok(())
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
    let built = steps.run("building the benchmark's guest", || programs(workspace, &AGENT, "--examples", &|_| ()))?;
    Ok(Measured { guest: built.join("examples/guest"), tools: provision::cache_dir() })
}

/// Two processes would build and fetch the same.
fn turn(folder: &Path) -> anyhow::Result<Preparing> {
    let mut told = false;
    loop {
        if let Some(sign) = Preparing::begin(folder)? {
            return Ok(sign);
        }
        if !std::mem::replace(&mut told, true) {
            say("another process prepares the VM lane; waiting for it");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What is fetched comes beside what is built. The agent is put in its place last: a node that finds it finds all.
fn parts(workspace: &Workspace, progress: &Progress, program: impl FnOnce() -> PathBuf + Send) -> anyhow::Result<()> {
    let last = Mutex::new(Last::default());
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let program = program();
            Last::change(&last, progress, |last| last.platform_built = true);
            succeed(Command::new(program).arg("vm-setup").stdin(Stdio::null()).stdout(Stdio::null()))
        });
        let programs = [&RUNNER, &AGENT].map(|guest| programs(workspace, guest, "--bins", &|step| progress.step(step)));
        Last::change(&last, progress, |last| last.guests_built = true);
        fetching.join().map_err(|_| anyhow::anyhow!("fetching panicked"))??;
        for (guest, folder) in [&RUNNER, &AGENT].into_iter().zip(programs) {
            put(guest, &folder?)?;
        }
        Ok(())
    })
}

/// What the last step is, once the guests' programs are built: the platform's program fetches, and must be built before.
#[derive(Debug, Default)]
struct Last {
    platform_built: bool,
    guests_built: bool,
}

impl Last {
    fn change(last: &Mutex<Self>, progress: &Progress, change: impl FnOnce(&mut Self)) {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut last);
        if let Some(step) = last.step() {
            progress.step(step);
        }
    }

    fn step(&self) -> Option<&'static str> {
        match (self.guests_built, self.platform_built) {
            (false, _) => None,
            (true, false) => Some("waiting for the platform's build"),
            (true, true) => Some("fetching the guests' kernel and the bases"),
        }
    }
}

/// How far it is, for nodes and for who waits.
struct Progress {
    sign: Preparing,
    now: Mutex<String>,
}

impl Progress {
    fn step(&self, step: &str) {
        self.sign.step(step);
        step.clone_into(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> String {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Does the work, and says now and then how far it is.
fn with_progress<T>(progress: &Progress, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    progress.step("beginning");
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let began = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(SAY_EVERY) {
                say(&format!("the VM lane, after {}: {}", seconds(began.elapsed()), progress.now()));
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Programs for the inside of guests, static and small; the folder that they are in. `step` hears what is compiled.
fn programs(workspace: &Workspace, guest: &Guest, which: &str, step: &dyn Fn(&str)) -> anyhow::Result<PathBuf> {
    let (mut cargo, profile) = (workspace.cargo(), guest.profile(workspace));
    cargo.args(["build", "--package", guest.package, "--profile", profile, "--target", TARGET, which]);
    cargo.env(RUSTFLAGS.0, RUSTFLAGS.1).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = cargo.spawn().context("cargo cannot be run")?;
    let (mut count, mut said) = (0_usize, String::new());
    for line in BufReader::new(child.stderr.take().context("cargo says nothing")?).lines() {
        let line = line?;
        if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
            count += 1;
            // Where a crate is, is this machine's business: nodes pass this on to their users.
            let name = name.split(" (").next().unwrap_or(name);
            step(&format!("building {}: {count} crates begun, now {name}", guest.package));
        } else {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "building {} failed ({status}):\n{said}", guest.package);
    Ok(workspace.target.join(TARGET).join(profile))
}

/// Puts a program for guests where the local node looks for it.
fn put(guest: &Guest, built: &Path) -> anyhow::Result<()> {
    let (built, place) = (built.join(guest.package), provision::cache_dir().join(guest.package));
    let same = |one: &PathBuf, other: &PathBuf| std::fs::read(one).ok() == std::fs::read(other).ok();
    if same(&built, &place) {
        return Ok(());
    }
    // A node may be starting with the old one.
    let scratch = place.with_extension("new");
    std::fs::copy(&built, &scratch)?;
    Ok(std::fs::rename(&scratch, &place)?)
}

/// Ctrl-C is for the platform: we end when it has.
#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

/// With all that was started here.
#[cfg(unix)]
fn end_with_parent() {
    let parent = std::os::unix::process::parent_id();
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(Duration::from_millis(300));
        }
        let group = format!("-{}", std::process::id());
        drop(Command::new("kill").args(["-s", "TERM", "--", &group]).status());
        std::process::exit(1);
    });
}

#[cfg(not(unix))]
fn end_with_parent() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fetched_before_the_platform_is_built() {
        let step = |guests_built, platform_built| Last { platform_built, guests_built }.step();
        assert_eq!((step(false, false), step(false, true)), (None, None));
        assert_eq!(step(true, false), Some("waiting for the platform's build"));
        assert!(step(true, true).unwrap().starts_with("fetching"));
    }
}
