//! Builds the parts: the `crowdcloud` program, the portal, the guests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use componentize::Toolchain;

use crate::portal;
use crate::steps::{Steps, say, succeed};
use crate::workspace::Workspace;

/// Built beside xtask itself, or for wasm: never with the rest, so that dependencies' features stay the same.
pub(crate) const APART: [&str; 2] = ["web", "xtask"];

/// `cargo VERB` in the workspace's profile, for all crates that are built together: also where only one program is
/// wanted, so that dependencies have the same features whatever is built, and are built once. The gateway embeds the
/// portal's files: build the portal before; an empty folder means none.
pub(crate) fn together(workspace: &Workspace, verb: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    if let Ok((dist, _)) = portal::place_for(workspace) {
        cargo.env("CROWDCLOUD_PORTAL_DIR", dist);
    }
    // To nextest a profile is one of its own, and cargo's has a longer name.
    let option = if verb.first() == Some(&"nextest") { "--cargo-profile" } else { "--profile" };
    cargo.args(verb).args([option, workspace.profile.name()]);
    if let Some(linter) = &workspace.linter {
        linter.lint(&mut cargo);
    }
    all_together(&mut cargo);
    cargo
}

fn all_together(cargo: &mut Command) {
    cargo.arg("--workspace");
    for name in APART {
        cargo.args(["--exclude", name]);
    }
}

/// What is built by one command.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parts {
    /// What a user runs, and nothing else: on a new machine somebody waits for it.
    Platform,
    /// The platform and what fills it with work.
    Demo,
    /// The platform and what measures it.
    Programs,
    /// The platform and the tests, with what makes their images; in CI all that there is, because that is linted by being
    /// built.
    WithTests,
}

impl Parts {
    fn cargo(self, workspace: &Workspace) -> Command {
        let mut cargo = together(workspace, &["build"]);
        match self {
            Self::Platform => cargo.args(["--bin", "crowdcloud"]),
            Self::Demo => cargo.args(["--bin", "crowdcloud", "--bin", "demo"]),
            Self::Programs => cargo.args(["--bin", "crowdcloud", "--bin", "bench", "--bin", "image-set"]),
            Self::WithTests if workspace.linter.is_some() => cargo.arg("--all-targets"),
            Self::WithTests => cargo.args(["--bin", "crowdcloud", "--bin", "image-set", "--tests"]),
        };
        cargo
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Platform => "building crowdcloud",
            Self::Demo => "building crowdcloud and the demo",
            Self::Programs => "building crowdcloud and the benchmarks",
            Self::WithTests => "building crowdcloud and the tests",
        }
    }
}

/// The portal, and the program that embeds it. The first time side by side: the portal's last step has one thread, and
/// the gateway's build script waits for it. Later the portal comes first, or cargo would not see what has changed.
pub(crate) fn all(workspace: &Workspace, steps: &mut Steps, toolchain: &Toolchain, parts: Parts) -> anyhow::Result<()> {
    if portal::is_built(workspace) {
        portal(workspace, steps, toolchain)?;
        return steps.command(parts.describe(), &mut parts.cargo(workspace));
    }
    let name = format!("{}, and beside it the portal", parts.describe());
    steps.run(&name, || {
        let lock = portal::lock(workspace)?;
        std::thread::scope(|scope| {
            let portal = scope.spawn(move || {
                let built = portal::build(workspace, toolchain);
                drop(lock);
                built.and_then(|_| portal::weigh(workspace))
            });
            let built = succeed(&mut parts.cargo(workspace));
            portal.join().map_err(|_| anyhow::anyhow!("building the portal panicked"))??;
            built
        })
    })
}

/// The parts, with the portal that is there.
pub(crate) fn only(workspace: &Workspace, steps: &mut Steps, parts: Parts) -> anyhow::Result<()> {
    steps.command(parts.describe(), &mut parts.cargo(workspace))
}

/// The portal's files.
pub(crate) fn portal(workspace: &Workspace, steps: &mut Steps, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let dist = steps.run("building the portal", || portal::build(workspace, toolchain))?;
    portal::weigh(workspace)?;
    Ok(dist)
}

/// An example with this script is made of Debian's packages.
const OF_PACKAGES: &str = "package.sh";

/// The example functions, and the guests of the tests, each to its manifest's artifact.
pub(crate) fn guests(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let examples = workspace.root.join("functions-examples");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&examples)
        .with_context(|| format!("{} cannot be read", examples.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("crowdcloud.toml").is_file())
        .collect();
    folders.sort();
    steps.run("building the example functions", || {
        folders.iter().try_for_each(|folder| {
            let built = succeed(Command::new(workspace.program("crowdcloud")).arg("build").arg(folder));
            match built {
                Err(error) if folder.join(OF_PACKAGES).is_file() && provision::find("apt-get").is_none() => {
                    say(&format!("{} needs a machine with apt: {error:#}", folder.display()));
                    Ok(())
                }
                built => built,
            }
        })
    })
}

/// What the program and the tests find the parts by.
pub(crate) fn environment(command: &mut Command, nats: &std::path::Path) {
    command.env(crate::tools::NATS_VARIABLE, nats);
}

/// Where tests and benchmarks find programs and sources.
pub(crate) fn locations(command: &mut Command, workspace: &Workspace) {
    command.env("CROWDCLOUD_BIN", workspace.program("crowdcloud"));
    if std::env::var_os(crate::tools::axe::VARIABLE).is_none() {
        command.env(crate::tools::axe::VARIABLE, crate::tools::axe::place());
    }
    command.env("CROWDCLOUD_EXAMPLES", workspace.root.join("functions-examples"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Otherwise most dependencies would be built again for the tests, after what users run was built.
    #[test]
    fn tests_ask_for_no_other_features_of_what_users_run() {
        let workspace = Workspace::find().unwrap();
        let features = |edges: &str| -> BTreeSet<String> {
            let mut cargo = workspace.cargo();
            cargo.args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}", "--edges", edges]);
            all_together(&mut cargo);
            let tree = crate::steps::quiet(&mut cargo).unwrap();
            tree.lines().map(|line| line.trim_end_matches(" (*)").trim_end().to_owned()).collect()
        };
        let package = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let run = features("normal,build");
        let packages: BTreeSet<String> = run.iter().map(package).collect();
        let with_tests: BTreeSet<String> = features("normal,build,dev");
        let tested: BTreeSet<&String> = with_tests.iter().filter(|line| packages.contains(&package(line))).collect();
        let other: Vec<&&String> = tested.iter().filter(|line| !run.contains(**line)).collect();
        assert!(other.is_empty(), "declare these features where the dependency is a normal one: {other:?}");
    }
}
