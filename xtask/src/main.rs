//! `cargo xtask`: from a fresh clone to a running, tested, measured platform. It fetches what the machine lacks.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod bench;
mod build;
mod demo;
mod doc;
mod lint;
mod parts;
mod portal;
mod report;
mod sources;
mod steps;
mod test;
mod tools;
mod up;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::build::Parts;
use crate::steps::Steps;
use crate::workspace::{Profile, Workspace};

/// Sets up, builds, runs, tests and measures CrowdCloud.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build everything, fetch what is missing, and start the platform (`--help` after `--` for its own options)
    Up {
        /// Arguments of `crowdcloud up`, for example `--check` or `--data DIR`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Format, clippy, invariants, then all tests; a filter runs only the tests whose name contains it
    Test {
        /// Part of a test's name
        filter: Option<String>,
        /// Only the tests, without format, clippy and invariants
        #[arg(long)]
        no_lint: bool,
        /// For CI: the sources are a fresh clone's; those that the target folder was last built from are not new
        #[arg(long)]
        fresh_clone: bool,
        /// Only the platform's tests, on three executors that keep two copies of each blob
        #[arg(long)]
        replicas: bool,
    },
    /// Format, clippy with warnings as errors, and the house's invariants
    Lint,
    /// Measure: `bench invoke [--profile]|executor|fabric|vm|images|jobs|floods|books|store|portal --json FILE`;
    /// `bench scheduler [--trace DIR]` compares the policies in the simulator; `bench all` writes EVALUATION.md; `bench faults`
    /// kills for an hour
    Bench {
        /// Arguments of the benchmark, its name first
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// Start the platform and fill it with two minutes of work, to look at in its portal (`--help` after `--` for its own
    /// options)
    Demo {
        /// Arguments of the demo, for example `--once`, `--seconds 300`, `--url URL` or `--screenshots`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write docs/errors.md from the catalogue, and build the crates' documentation
    Doc,
    /// Build the example functions and the tests' guests
    BuildGuests,
    /// Build the portal
    BuildPortal,
    /// Make the set of images that tests run, of packages from Debian, npm and PyPI
    Images {
        /// Put copies here, each under its name
        into: Option<PathBuf>,
    },
    /// Fetch what the machine lacks for building, running and testing
    Setup,
    /// Prepare the VM lane beside what builds the platform: `up` and `test` do it
    #[command(name = tools::vm::TASK, hide = true)]
    VmLane {
        /// Where the platform's program will be when standard input ends
        program: PathBuf,
        /// As CI builds the programs of guests
        #[arg(long)]
        ci: bool,
    },
}

fn main() -> ExitCode {
    let done = if lint::is_compiler() { lint::compile() } else { run(Args::parse().task) };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let mut workspace = Workspace::find()?;
    let mut steps = Steps::new();
    match task {
        Task::Up { args } => up::run(&workspace, &mut steps, &args)?,
        Task::Test { filter, no_lint, fresh_clone, replicas } => {
            if fresh_clone {
                workspace.profile = Profile::Ci;
            }
            let which = test::Which { filter: filter.as_deref(), no_lint, fresh_clone, replicas };
            return test::run(&workspace, &mut steps, which);
        }
        Task::Lint => lint::run(&workspace, &mut steps)?,
        Task::Bench { args } => return bench::run(&workspace, &mut steps, &args),
        Task::Demo { args } => demo::run(&workspace, &mut steps, &args)?,
        Task::Doc => doc::run(&workspace, &mut steps)?,
        Task::BuildGuests => {
            build::only(&workspace, &mut steps, Parts::Platform)?;
            build::guests(&workspace, &mut steps)?;
        }
        Task::BuildPortal => {
            let toolchain = tools::wasm(&mut steps)?;
            let dist = build::portal(&workspace, &mut steps, &toolchain)?;
            println!("{}", dist.display());
        }
        Task::Setup => {
            tools::nats(&mut steps)?;
            tools::wasm(&mut steps)?;
            tools::for_tests(&mut steps)?;
            if let Err(error) = tools::axe(&mut steps) {
                steps::say(&format!("{error:#}"));
            }
            build::only(&workspace, &mut steps, Parts::Platform)?;
            tools::vm::prepare(&workspace, &mut steps)?;
        }
        Task::Images { into } => {
            build::only(&workspace, &mut steps, Parts::Programs)?;
            tools::images::prepare(&workspace, &mut steps, into.as_deref())?;
        }
        Task::VmLane { program, ci } => {
            if ci {
                workspace.profile = Profile::Ci;
            }
            tools::vm::task(&workspace, &mut steps, program)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
