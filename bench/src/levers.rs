//! `bench levers`: what one change is worth. The platform as it is, and beside it the same with one lever pulled: other
//! variables in its environment, or another program. All run at once and are measured in turns; who waits costs nothing.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use protocol::Timestamp;

use crate::figures::{Figure, Report};
use crate::http::Target;
use crate::invoke::{CONNECTIONS, is_a_run};
use crate::machine::{self, Machine};
use crate::platform::{Parts, Platform};
use crate::{Options, load, say};

/// Another program's path stands under this name.
const PROGRAM: &str = "program";
const AS_IT_IS: &str = "as it is";
/// Of the figures below, in their order.
const RATIOS: [&str; 4] = ["cpu_ratio", "throughput_ratio", "latency_p50_ratio", "latency_p99_ratio"];

/// Which levers to pull.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LeverOptions {
    #[command(flatten)]
    pub(crate) general: Options,
    /// `NAME: VARIABLE=VALUE VARIABLE=VALUE`; `program=PATH` is another `crowdcloud`; may be repeated
    #[arg(long = "lever", value_name = "LEVER", required = true)]
    levers: Vec<Lever>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lever {
    name: String,
    program: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

impl FromStr for Lever {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, changes) = text.split_once(": ").context("write `NAME: VARIABLE=VALUE`")?;
        let mut lever = Self { name: name.to_owned(), program: None, variables: Vec::new() };
        for change in changes.split_whitespace() {
            let (variable, value) = change.split_once('=').with_context(|| format!("{change} has no `=`"))?;
            if variable == PROGRAM {
                lever.program = Some(value.into());
            } else {
                lever.variables.push((variable.to_owned(), value.to_owned()));
            }
        }
        Ok(lever)
    }
}

/// A platform, what it is asked, and what was found.
struct Contender {
    name: String,
    platform: Platform,
    target: Target,
    calls: u64,
    /// By number of connections.
    found: [Vec<Found>; CONNECTIONS.len()],
    _folder: tempfile::TempDir,
}

/// One measurement.
struct Found {
    cpu_us_per_call: f64,
    throughput_per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Contender {
    async fn start(parts: &Parts, lever: Option<&Lever>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut parts = parts.clone();
        let mut variables = Vec::new();
        if let Some(lever) = lever {
            parts.program = lever.program.clone().unwrap_or(parts.program);
            variables.extend(lever.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let name = lever.map_or(AS_IT_IS, |lever| &lever.name).to_owned();
        let started = Platform::start_with_variables(&parts, folder.path(), &variables).await;
        let platform = started.with_context(|| name.clone())?;
        let target = platform.deploy()?;
        Ok(Self { name, platform, target, calls: 0, found: Default::default(), _folder: folder })
    }

    async fn measure(&mut self, place: usize, measured: Duration) -> anyhow::Result<()> {
        let used = || self.platform.cpu().values().sum::<Duration>();
        let before = used();
        let sample = load::http(self.target.clone(), CONNECTIONS[place], measured, is_a_run).await?;
        ensure!(sample.failures == 0, "{}: {:?}", self.name, sample.first_failure);
        self.calls += sample.successes;
        // What a call costs has its books in it.
        let usage = self.platform.settled(self.target.key.as_deref().unwrap_or_default(), self.calls).await?;
        ensure!(usage.succeeded == self.calls, "{}: {} calls, {} settled", self.name, self.calls, usage.succeeded);
        let took = used().saturating_sub(before);
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let cpu_us_per_call = took.as_secs_f64() * 1e6 / sample.successes as f64;
        let (throughput_per_second, p50_us, p99_us) = (sample.throughput_per_second, sample.p50_us, sample.p99_us);
        self.found[place].push(Found { cpu_us_per_call, throughput_per_second, p50_us, p99_us });
        Ok(())
    }

    fn figures(&self, place: usize) -> [Figure; 4] {
        type Kind = (&'static str, fn(&Found) -> f64);
        const KINDS: [Kind; 4] = [
            ("cpu_us_per_call", |found| found.cpu_us_per_call),
            ("throughput_per_second", |found| found.throughput_per_second),
            ("latency_p50_us", |found| found.p50_us),
            ("latency_p99_us", |found| found.p99_us),
        ];
        KINDS.map(|(figure, value)| {
            Figure::new(&self.name, figure, Some(CONNECTIONS[place]), self.found[place].iter().map(value).collect())
        })
    }
}

/// Measures it.
pub(crate) async fn run(options: &LeverOptions) -> anyhow::Result<Report> {
    let general = &options.general;
    let parts = Parts::from_environment()?;
    let at = Timestamp::now().to_string();
    let mut contenders = vec![Contender::start(&parts, None).await?];
    for lever in &options.levers {
        say(&format!("starting a platform: {}", lever.name));
        contenders.push(Contender::start(&parts, Some(lever)).await?);
    }
    let measured = Duration::from_secs_f64(general.seconds);
    for round in 0..general.rounds as usize {
        say(&format!("round {} of {}", round + 1, general.rounds));
        for place in 0..CONNECTIONS.len() {
            for turn in 0..contenders.len() {
                let which = (round + turn) % contenders.len();
                contenders[which].measure(place, measured).await?;
            }
        }
    }
    let mut figures = Vec::new();
    for place in 0..CONNECTIONS.len() {
        let bases = contenders[0].figures(place);
        for contender in &contenders[1..] {
            let pulled = contender.figures(place);
            for ((pulled, base), ratio) in pulled.iter().zip(&bases).zip(RATIOS) {
                figures.extend([pulled.clone(), pulled.over(base, ratio)]);
            }
        }
        figures.extend(bases);
    }
    let levers: Vec<String> = options.levers.iter().map(|lever| format!("{lever:?}")).collect();
    let settings = serde_json::json!({
        "rounds": general.rounds,
        "seconds": general.seconds,
        "levers": levers,
        "crowdcloud_version": machine::version(&parts.program),
        "nats_server": machine::version(&parts.nats_server),
    });
    for contender in contenders {
        contender.platform.stop().await?;
    }
    let goals = Vec::new();
    Ok(Report { benchmark: "levers", at, machine: Machine::here(), settings, figures, goals, checks: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lever_is_read() {
        let lever: Lever = "one thread: GOMAXPROCS=1 program=/tmp/other A=b=c".parse().unwrap();
        let variables = [("GOMAXPROCS", "1"), ("A", "b=c")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            lever,
            Lever { name: "one thread".to_owned(), program: Some("/tmp/other".into()), variables: variables.into() }
        );
        assert!("no colon".parse::<Lever>().is_err() && "x: y".parse::<Lever>().is_err());
    }
}
