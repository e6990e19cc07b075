//! `bench jobs`: ten thousand jobs, the same through deaths of every kind of process, and a mix of work on three nodes
//! of different speeds, placed by what was learned and by load alone, by turns.

mod client;
mod many;
mod mix;
mod throttle;

use protocol::Timestamp;

use crate::figures::Report;
use crate::machine::{self, Machine};
use crate::platform::Parts;
use crate::{Options, say};

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobOptions {
    #[command(flatten)]
    pub(crate) general: Options,
    /// Jobs of each of the two crowds
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// Seconds of each turn of the mix
    #[arg(long, default_value_t = 60)]
    mix_seconds: u64,
    /// Offered work over what the three nodes can do
    #[arg(long, default_value_t = 0.76)]
    load: f64,
    /// Only the mix
    #[arg(long)]
    only_mix: bool,
}

/// Measures everything.
pub(crate) async fn run(options: &JobOptions) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let at = Timestamp::now().to_string();
    let (mut figures, mut goals, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    if !options.only_mix {
        say(&format!("{} jobs, and {} more through deaths", options.jobs, options.jobs));
        let (found, held) = many::run(&parts, options.jobs).await?;
        figures.extend(found);
        checks.extend(held);
    }
    let mixed = mix::run(&parts, options).await?;
    figures.extend(mixed.figures);
    goals.extend(mixed.goals);
    checks.extend(mixed.checks);
    let settings = serde_json::json!({
        "rounds": options.general.rounds,
        "jobs": options.jobs,
        "mix_seconds": options.mix_seconds,
        "load": options.load,
        "speeds": mix::SPEEDS,
        "mix": mix::description(),
        "crowdcloud": "up --separate --executors 3 --control-planes 2 (the mix: one); throttled by stopping a node and all that it started for a part of each 40 ms",
        "crowdcloud_version": machine::version(&parts.program),
    });
    Ok(Report { benchmark: "jobs", at, machine: Machine::here(), settings, figures, goals, checks })
}
