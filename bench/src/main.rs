//! Measures the platform: as users run it, beside what it is built on, in alternating rounds on the same machine.
//!
//! `cargo xtask bench` builds everything, then calls this with the places of the parts in the environment.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod checks;
mod evaluation;
mod figures;
mod floods;
mod http;
mod image_set;
mod instances;
mod invoke;
mod jobs;
mod levers;
mod load;
mod machine;
mod memory;
mod nats;
mod placement;
mod platform;
mod process;
mod profile;
mod scheduling;
mod streaming;
mod threads;
mod vm;
mod wasmtime;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::evaluation::Section;

/// Measures the platform.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Calls of the smallest function, beside `wasmtime serve` with the same component and a bare NATS request
    Invoke(InvokeOptions),
    /// A run inside the node, beside a bare loop over the same instances
    Executor(Options),
    /// A large body through a function, beside raw NATS publishing
    Fabric(Options),
    /// What a call costs with one thing changed: a variable of the environment, or another program
    Levers(levers::LeverOptions),
    /// How soon microVMs answer: booted, restored, waiting, warm; and what they hold
    Vm(Options),
    /// The set of images: how large each is, how long its deploy, its first call and a warm call take
    Images(Options),
    /// Ten thousand jobs, also while processes die; a mix on nodes of different speeds, by two policies
    Jobs(jobs::JobOptions),
    /// What stays in memory after floods of strangers and of nodes
    Floods(Options),
    /// Every policy in the simulator, on a trace or a generated workload; and what a placement takes
    Scheduler(scheduling::Options),
    /// All of these; writes EVALUATION.md
    All(AllOptions),
}

/// How to measure.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// Write every figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds of each measurement; the figures are their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds between the last measurement and the second look at memory
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// Leave `wasmtime serve` out (it takes long to build, once)
    #[arg(long)]
    without_wasmtime: bool,
    /// Write the figures into EVALUATION.md, in place of this benchmark's section
    #[arg(long)]
    evaluation: bool,
}

/// How to measure calls.
#[derive(Debug, Clone, clap::Args)]
struct InvokeOptions {
    #[command(flatten)]
    general: Options,
    /// Tell the CPU time of a call by part instead, and of nothing but the platform
    #[arg(long)]
    profile: bool,
}

/// How to measure everything.
#[derive(Debug, Clone, clap::Args)]
struct AllOptions {
    #[command(flatten)]
    jobs: jobs::JobOptions,
    /// A folder of the form of the Azure Functions sample: the simulator takes it beside the generated workload
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse().what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: a check failed: the figures above do not count");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all checks held.
fn run(what: &What) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (options, report) = match what {
        What::Invoke(InvokeOptions { general, profile: false }) => (general, runtime.block_on(invoke::run(general))?),
        What::Invoke(InvokeOptions { general, profile: true }) => (general, runtime.block_on(profile::run(general))?),
        What::Executor(options) => (options, instances::run(options)?),
        What::Fabric(options) => (options, runtime.block_on(streaming::run(options))?),
        What::Levers(options) => (&options.general, runtime.block_on(levers::run(options))?),
        What::Vm(options) => (options, runtime.block_on(vm::run(options))?),
        What::Images(options) => (options, runtime.block_on(image_set::run(options))?),
        What::Jobs(options) => (&options.general, runtime.block_on(jobs::run(options))?),
        What::Floods(options) => (options, runtime.block_on(floods::run(options))?),
        What::Scheduler(options) => return scheduling::run(options),
        What::All(options) => return all(&runtime, options),
    };
    println!("{}", report.table());
    if let Some(file) = &options.json {
        write(file, &report)?;
    }
    if options.evaluation {
        evaluation::write(vec![Section::of(&report)])?;
    }
    Ok(report.checks.iter().all(|check| check.held))
}

/// Everything, one after the other.
fn all(runtime: &tokio::runtime::Runtime, options: &AllOptions) -> anyhow::Result<bool> {
    let general = &options.jobs.general;
    let mut reports = vec![
        runtime.block_on(invoke::run(general))?,
        runtime.block_on(profile::run(general))?,
        instances::run(general)?,
        runtime.block_on(streaming::run(general))?,
    ];
    match runtime.block_on(vm::run(general)) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of microVMs: {error:#}")),
    }
    match runtime.block_on(image_set::run(general)) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of images: {error:#}")),
    }
    reports.push(runtime.block_on(jobs::run(&options.jobs))?);
    reports.push(runtime.block_on(floods::run(general))?);
    let mut simulations = Vec::new();
    for trace in options.trace.clone().map(Some).into_iter().chain([None]) {
        let whole = scheduling::measure(&scheduling::Options::usual(trace))?;
        reports.push(whole.report);
        simulations.push(whole.simulation.table());
    }
    reports.iter().for_each(|report| println!("{}", report.table()));
    if let Some(file) = &general.json {
        write(file, &reports)?;
    }
    let sections = reports.iter().map(Section::of);
    evaluation::write(sections.chain(simulations.iter().map(|table| Section::simulated(table))).collect())?;
    Ok(reports.iter().flat_map(|report| &report.checks).all(|check| check.held))
}

fn write(file: &Path, what: &impl Serialize) -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(what)?;
    json.push('\n');
    std::fs::write(file, json).with_context(|| format!("{} cannot be written", file.display()))
}

/// One line of progress, on stderr.
fn say(line: &str) {
    eprintln!("[bench] {line}");
}
