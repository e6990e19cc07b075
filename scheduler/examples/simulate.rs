//! Compares the policies in the simulator, on a trace folder or on a generated workload.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Parser;
use scheduler::Tuning;
use scheduler::simulator::{Plan, Sample, Source, Trace, compare};

/// Compares the policies in the simulator.
#[derive(Debug, Parser)]
struct Args {
    /// A folder of the form of the Azure Functions sample; else a workload with that trace's published statistics
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
    /// Write every figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table and the plots to this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Functions of a generated workload
    #[arg(long, default_value_t = 500)]
    functions: usize,
    /// How many seeds
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Minutes to learn from
    #[arg(long, default_value_t = 120)]
    learn: u64,
    /// Minutes to score after them
    #[arg(long, default_value_t = 120)]
    score: u64,
    /// Offered work over capacity
    #[arg(long, value_delimiter = ',', default_values_t = [0.76, 0.95])]
    loads: Vec<f64>,
    /// Only these policies
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What the learned policy weighs with: `patience=30`
    #[arg(long, value_delimiter = ',')]
    tune: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let source = match &args.trace {
        Some(folder) => Source::Trace(Trace::read(folder)?),
        None => Source::Generated { functions: args.functions },
    };
    let plan = Plan {
        seeds: (args.first_seed..args.first_seed + args.seeds).collect(),
        loads: args.loads,
        learn_minutes: args.learn,
        score_minutes: args.score,
        only: args.only,
        tuning: tuning(&args.tune)?,
        ..Plan::default()
    };
    let report = compare(&plan, &source, &say);
    println!("{}", report.table());
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text + "\n").with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if let Some(folder) = &args.report {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.md"), report.table())?;
        for (name, svg) in report.plots()? {
            std::fs::write(folder.join(name), svg)?;
        }
    }
    Ok(())
}

fn say(sample: &Sample) {
    let score = &sample.score;
    eprintln!(
        "seed {} load {} {:<14} p50 {:.3} p99 {:.3} mean {:.3} worst {:.1} max {:.0} wait {:.0} s cold {:.4} used {:.3} of {:.3} {:?} {:?}",
        sample.seed,
        sample.load,
        sample.policy,
        score.slowdown_p50,
        score.slowdown_p99,
        score.slowdown_mean,
        score.worst_function_p99,
        score.slowdown_max,
        score.wait_max_s,
        score.cold_share,
        score.utilisation,
        score.offered,
        sample.model_error,
        sample.history_error,
    );
}

fn tuning(changes: &[String]) -> anyhow::Result<Tuning> {
    let mut tuning = Tuning::default();
    for change in changes {
        let (name, value) = change.split_once('=').context("write it as name=value")?;
        let value: f32 = value.parse().with_context(|| format!("`{value}` is no number"))?;
        match name {
            "patience" => tuning.patience = value.into(),
            "long_share" => tuning.long_share = value.into(),
            "reserve" => tuning.reserve = value.into(),
            "hold" => tuning.hold = value.into(),
            "cold" => tuning.cold = value,
            "price" => tuning.price = value,
            "warm_wait" => tuning.warm_wait = value.into(),
            "warm_wait_least" => tuning.warm_wait_least = value.into(),
            "warm_wait_most" => tuning.warm_wait_most = value.into(),
            "warm_wait_full" => tuning.warm_wait_full = value.into(),
            "full" => tuning.full = value.into(),
            "near_equal" => tuning.near_equal = value,
            _ => bail!("there is no weight `{name}`"),
        }
    }
    Ok(tuning)
}
