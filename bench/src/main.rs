//! Measures the platform: as users run it, beside what it is built on, in alternating rounds on the same machine.
//!
//! `cargo xtask bench` builds everything, then calls this with the places of the parts in the environment.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod blobs;
mod books;
mod checks;
mod evaluation;
mod figures;
mod floods;
mod http;
mod image_set;
mod instances;
mod invoke;
mod jobs;
mod lend;
mod levers;
mod load;
mod machine;
mod memory;
mod nats;
mod placement;
mod platform;
mod portal;
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
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::blobs::StoreOptions;
use crate::books::BooksOptions;
use crate::evaluation::Section;

/// The exit status after Ctrl-C.
const INTERRUPTED: i32 = 130;

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
    /// Lenders' machines: join to online, pause to nothing running, revoke to cut; what supervisor, confinement and a far way
    /// cost a call, beside the same worker without them and the network's own
    Lend(Options),
    /// The run history: halves settled in a second on both databases, and what is asked of a million runs
    Books(BooksOptions),
    /// The store: blobs beside the same files written by hand, and beside the chunks of the release before; one of two disks
    /// lost; a million blobs swept; memory while much passes; a deploy and a job's submission
    Store(StoreOptions),
    /// The portal in Chromium: bytes, first content, figures, page changes; beside a page of as many bytes
    Portal(Options),
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
        What::Invoke(InvokeOptions { general, profile: false }) => (general, finish(&runtime, invoke::run(general))?),
        What::Invoke(InvokeOptions { general, profile: true }) => (general, finish(&runtime, profile::run(general))?),
        What::Executor(options) => (options, instances::run(options)?),
        What::Fabric(options) => (options, finish(&runtime, streaming::run(options))?),
        What::Levers(options) => (&options.general, finish(&runtime, levers::run(options))?),
        What::Vm(options) => (options, finish(&runtime, vm::run(options))?),
        What::Images(options) => (options, finish(&runtime, image_set::run(options))?),
        What::Jobs(options) => (&options.general, finish(&runtime, jobs::run(options))?),
        What::Floods(options) => (options, finish(&runtime, floods::run(options))?),
        What::Lend(options) => (options, finish(&runtime, lend::run(options))?),
        What::Books(options) => (&options.general, finish(&runtime, books::run(options))?),
        What::Store(options) => (&options.general, finish(&runtime, blobs::run(options))?),
        What::Portal(options) => (options, finish(&runtime, portal::run(options))?),
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

/// What a measurement finds. Ctrl-C and SIGTERM end it, and with it whatever it has started.
fn finish<T>(runtime: &Runtime, measurement: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let found = runtime.block_on(async {
        tokio::select! {
            found = measurement => Some(found),
            () = interrupted() => None,
        }
    });
    found.unwrap_or_else(|| std::process::exit(INTERRUPTED))
}

async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => _ = signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Everything, one after the other.
fn all(runtime: &Runtime, options: &AllOptions) -> anyhow::Result<bool> {
    let general = &options.jobs.general;
    let mut reports = vec![
        finish(runtime, invoke::run(general))?,
        finish(runtime, profile::run(general))?,
        instances::run(general)?,
        finish(runtime, streaming::run(general))?,
    ];
    match finish(runtime, vm::run(general)) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of microVMs: {error:#}")),
    }
    match finish(runtime, image_set::run(general)) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of images: {error:#}")),
    }
    reports.push(finish(runtime, jobs::run(&options.jobs))?);
    reports.push(finish(runtime, floods::run(general))?);
    match finish(runtime, lend::run(general)) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of lenders' machines: {error:#}")),
    }
    reports.push(finish(runtime, books::run(&BooksOptions::usual(general.clone())))?);
    match finish(runtime, blobs::run(&StoreOptions::usual(general.clone()))) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of the store: {error:#}")),
    }
    match finish(runtime, portal::run(general)) {
        Ok(report) => reports.push(report),
        Err(error) => say(&format!("no figures of the portal: {error:#}")),
    }
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
