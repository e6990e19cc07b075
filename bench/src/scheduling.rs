//! `bench scheduler`: every policy in the simulator, and what a placement takes. It needs no platform.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use protocol::Timestamp;
use scheduler::Tuning;
use scheduler::simulator::{ENTRANTS, Plan, Sample, Source, Trace, compare};
use serde::Serialize;
use serde_json::json;

use crate::checks::{Bound, Check, Goal};
use crate::figures::Report;
use crate::machine::Machine;
use crate::{placement, say, write};

/// What to simulate.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// A folder of the form of the Azure Functions sample; else a workload with that trace's published statistics
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
    /// Write every figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table and the plots (SVG) to this folder; else to one beside the JSON file, where there is one
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Functions of a generated workload
    #[arg(long, default_value_t = 500)]
    functions: usize,
    /// How many seeds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Minutes to learn from
    #[arg(long, default_value_t = 120)]
    learn: u64,
    /// Minutes to score after them
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
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

/// The figures of placements, and beside them the whole comparison.
#[derive(Serialize)]
pub(crate) struct Whole {
    #[serde(flatten)]
    pub(crate) report: Report,
    pub(crate) simulation: scheduler::simulator::Report,
}

impl Options {
    /// The usual comparison, on this trace or else a generated workload.
    pub(crate) fn usual(trace: Option<PathBuf>) -> Self {
        Self {
            trace,
            json: None,
            report: None,
            functions: 500,
            seeds: 5,
            first_seed: 1,
            learn: 120,
            score: 120,
            loads: vec![0.76, 0.95],
            only: Vec::new(),
            tune: Vec::new(),
        }
    }
}

/// Tells and writes what was found; whether all checks held. A goal that is not reached is told, and is no failed check.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let whole = measure(options)?;
    println!("{}\n{}", whole.report.table(), whole.simulation.table());
    if let Some(file) = &options.json {
        write(file, &whole)?;
    }
    let beside = options.json.as_ref().map(|file| file.with_extension("report"));
    if let Some(folder) = options.report.clone().or(beside) {
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        std::fs::write(folder.join("report.md"), whole.simulation.table())?;
        for (name, svg) in whole.simulation.plots()? {
            std::fs::write(folder.join(name), svg)?;
        }
        say(&format!("the table and the plots are in {}", folder.display()));
    }
    Ok(whole.report.checks.iter().all(|check| check.held))
}

/// Simulates everything, and measures placements.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Whole> {
    let at = Timestamp::now().to_string();
    let source = match &options.trace {
        Some(folder) => Source::Trace(Trace::read(folder)?),
        None => Source::Generated { functions: options.functions },
    };
    let plan = Plan {
        seeds: (options.first_seed..options.first_seed.saturating_add(options.seeds)).collect(),
        loads: options.loads.clone(),
        learn_minutes: options.learn,
        score_minutes: options.score,
        only: options.only.clone(),
        tuning: tuning(&options.tune)?,
        ..Plan::default()
    };
    let policies = policies(&plan)?;
    let (figures, mut goals) = placement::measure()?;
    say(&format!("{policies} policies, {} seeds, loads {:?}", plan.seeds.len(), plan.loads));
    let simulation = compare(&plan, &source, &tell);
    let wanted = policies * plan.seeds.len() * plan.loads.len();
    let came = simulation.samples.len();
    let checks =
        vec![Check::new("every simulation has come to its end", came == wanted, format!("{came} of {wanted}"))];
    goals.extend(simulation.goals.iter().map(|goal| {
        let what = format!("learned / {}, {}, at load {}", goal.over, goal.figure, goal.load);
        Goal::new(what, Bound::AtMost, goal.most, goal.found.mean)
    }));
    let report = Report {
        benchmark: "scheduler",
        at,
        machine: Machine::here(),
        settings: json!({
            "rounds": figures.first().map_or(0, |figure| figure.rounds.len()),
            "source": simulation.source,
            "seeds": plan.seeds,
            "loads": plan.loads,
            "learn_minutes": plan.learn_minutes,
            "score_minutes": plan.score_minutes,
            "tuned": options.tune,
        }),
        figures,
        goals,
        checks,
    };
    Ok(Whole { report, simulation })
}

/// How many policies take part; a name that nobody has is refused before hours of work.
fn policies(plan: &Plan) -> anyhow::Result<usize> {
    let names: Vec<&str> = ENTRANTS.iter().map(|entrant| entrant(&plan.tuning).name()).collect();
    if let Some(unknown) = plan.only.iter().find(|only| !names.contains(&only.as_str())) {
        bail!("there is no policy `{unknown}`: {}", names.join(", "));
    }
    if let Some(load) = plan.loads.iter().find(|load| !(0.01..=2.0).contains(*load)) {
        bail!("a load of {load} is none: from 0.01 to 2");
    }
    Ok(if plan.only.is_empty() { names.len() } else { plan.only.len() })
}

fn tell(sample: &Sample) {
    let Sample { policy, load, seed, score, .. } = sample;
    say(&format!(
        "seed {seed} load {load} {policy:<14} slowdown p50 {:.3} p99 {:.3} worst function {:.1} cold {:.4} used {:.3}",
        score.slowdown_p50, score.slowdown_p99, score.worst_function_p99, score.cold_share, score.utilisation,
    ));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(only: &[&str], loads: Vec<f64>) -> Plan {
        Plan { only: only.iter().map(|&only| only.to_owned()).collect(), loads, ..Plan::default() }
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        assert_eq!(policies(&plan(&[], vec![0.5])).unwrap(), ENTRANTS.len());
        assert_eq!(policies(&plan(&["learned", "least_loaded"], vec![0.5])).unwrap(), 2);
        assert!(policies(&plan(&["best"], vec![0.5])).is_err());
        for load in [0.0, -1.0, f64::NAN, 100.0] {
            assert!(policies(&plan(&[], vec![load])).is_err(), "{load}");
        }
        assert!(tuning(&["patience=3".to_owned()]).is_ok_and(|tuning| tuning.patience == 3.0));
        assert!(tuning(&["patience".to_owned()]).is_err() && tuning(&["luck=1".to_owned()]).is_err());
    }

    /// A short comparison: its figures, its table and its plots are written.
    #[test]
    fn a_report_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("figures.json");
        let args = ["bench", "scheduler", "--functions", "20", "--seeds", "1", "--learn", "2", "--score", "2"];
        let more = ["--loads", "0.5", "--only", "least_loaded,learned", "--json", file.to_str().unwrap()];
        let parsed = <crate::Args as clap::Parser>::try_parse_from(args.into_iter().chain(more)).unwrap();
        let crate::What::Scheduler(options) = parsed.what else { panic!("another benchmark") };
        // Whether placements are fast enough is for a machine at rest to say.
        run(&options).unwrap();
        let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(figures["benchmark"], "scheduler");
        assert_eq!(figures["figures"].as_array().unwrap().len(), 4);
        assert_eq!(figures["simulation"]["rows"].as_array().unwrap().len(), 2);
        let plot = std::fs::read_to_string(folder.path().join("figures.report/slowdown-p99.svg")).unwrap();
        assert!(plot.contains("<svg"));
    }
}
