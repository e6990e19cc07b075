//! `bench books`: what the run history costs. How many halves of runs a control plane settles in a second, on SQLite and on
//! PostgreSQL, and how soon it answers meanwhile; CPU time of a run; what an idle one takes; and what a long history takes of
//! room and time.
//!
//! The control plane is the real program, alone with its nats-server; gateways and nodes are played ([`generator`]) and send
//! what real ones send. All are on one machine, so that the generator takes its share of the processor, too.

mod api;
mod control_plane;
mod cuts;
mod generator;
mod history;
mod sqlite;
#[cfg(test)]
mod tests;
mod world;

use std::path::Path;
use std::time::Duration;

use protocol::Timestamp;

use self::control_plane::{ControlPlane, Programs};
use self::world::{FULL, GATEWAYS, HELD, Round, World, count};
use crate::checks::{Bound, Check, Goal};
use crate::figures::{Figure, Report, quantile};
use crate::machine::{self, Machine};
use crate::platform::Parts;
use crate::{Options, say};

/// Runs of the history, where nothing is said.
const RUNS: u64 = 1_000_000;
const ACCOUNTS: usize = 100;
/// The pause before an idle process is looked at: threads that did something before have ended then.
const CALM: Duration = Duration::from_secs(6);
const IDLE: Duration = Duration::from_secs(10);
const HELD_FOR: Duration = Duration::from_secs(5);
const HELD_RUNS: f64 = 2_000.0;
/// Filling the history ends after so long for each run, however many there are: an end for a machine on which it would take
/// hours. How fast it was is a figure of its own.
const FILL_US: u64 = 500;
/// In the history's control plane runs become blocks, and rows go, that soon: what would take hours takes minutes.
const PACK_SOON: [&str; 4] = ["--block-age-max", "15s", "--rows-age", "15s"];

const SQLITE: &str = "SQLite";
const POSTGRES: &str = "PostgreSQL";

/// How to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BooksOptions {
    #[command(flatten)]
    pub(crate) general: Options,
    /// Runs of the history that is asked; the long form has 10000000, and takes half an hour
    #[arg(long, default_value_t = RUNS, value_parser = clap::value_parser!(u64).range(100_000..=100_000_000))]
    runs: u64,
}

impl BooksOptions {
    /// The usual history.
    pub(crate) fn usual(general: Options) -> Self {
        Self { general, runs: RUNS }
    }
}

/// A control plane on one of the databases, and what was found of it.
struct Contender {
    name: &'static str,
    world: World,
    held: Held,
    rounds: Vec<Round>,
}

/// What was found at a steady pace.
struct Held {
    asked: Round,
    unasked: Round,
}

impl Contender {
    /// A steady pace comes first: later, what full load has left is packed meanwhile.
    async fn new(name: &'static str, mut world: World) -> anyhow::Result<Self> {
        say(&format!("{name}, {HELD_RUNS} runs a second"));
        let unasked = world.load(HELD, HELD_FOR, false).await?;
        let asked = world.load(HELD, HELD_FOR, true).await?;
        Ok(Self { name, world, held: Held { asked, unasked }, rounds: Vec::new() })
    }
}

/// Measures everything.
pub(crate) async fn run(options: &BooksOptions) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let programs = Programs { crowdcloud: &parts.program, nats_server: &parts.nats_server };
    let at = Timestamp::now().to_string();
    let seconds = Duration::from_secs_f64(options.general.seconds);
    let (folder, postgres_folder, postgres_data) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let file = folder.path().join("books.db");

    say(SQLITE);
    let url = format!("sqlite://{}", file.display());
    let world = Box::pin(World::start(programs, folder.path(), url, None, ACCOUNTS)).await?;
    let mut figures = idle(&world.plane).await?;
    let mut contenders = vec![Box::pin(Contender::new(SQLITE, world)).await?];
    let server = postgres(postgres_data.path());
    if let Some(server) = &server {
        say(POSTGRES);
        let (url, pid) = (server.url("postgres"), Some(server.pid()));
        let world = Box::pin(World::start(programs, postgres_folder.path(), url, pid, ACCOUNTS)).await?;
        contenders.push(Box::pin(Contender::new(POSTGRES, world)).await?);
    }

    let mut floor = Vec::new();
    for round in 0..options.general.rounds as usize {
        for turn in 0..contenders.len() {
            let which = (round + turn) % contenders.len();
            let contender = &mut contenders[which];
            say(&format!("round {} of {}: {}", round + 1, options.general.rounds, contender.name));
            let found = contender.world.load(FULL, seconds, true).await?;
            if contender.name == SQLITE {
                let rows = whole(found.runs_per_cut);
                let text = contender.world.text()?;
                floor.push(sqlite::rows_per_second(folder.path(), &text, rows, Duration::from_secs(1)).await?);
            }
            contender.rounds.push(found);
        }
    }
    let floor = Figure::new("bare inserts into SQLite", RUNS_PER_SECOND, None, floor);

    let (mut goals, mut checks) = (Vec::new(), Vec::new());
    let mut sqlite_world = None;
    for Contender { name, world, held, rounds } in contenders {
        let found = of_rounds(name, &rounds);
        goals.extend(full_goals(name, &found));
        figures.extend(found);
        let Held { asked, unasked } = held;
        let what = format!("{name} at {HELD_RUNS} runs/s");
        checks.push(Check::new(
            format!("{what}: they were settled as fast"),
            asked.runs_per_second >= 0.9 * HELD_RUNS,
            format!("{:.0}", asked.runs_per_second),
        ));
        let mut found = of_rounds(&what, &[asked]);
        found.push(Figure::new(&what, UNASKED_CPU, None, vec![unasked.cpu_us]));
        goals.extend(held_goals(&what, &found));
        figures.extend(found);
        checks.push(once(name, &world).await?);
        match name {
            SQLITE => sqlite_world = Some(world),
            _ => world.plane.stop().await?,
        }
    }
    drop(server);
    let settled = figures.iter().find(|figure| figure.of == SQLITE && figure.figure == RUNS_PER_SECOND);
    let ratio = settled.map(|runs| runs.over(&floor, "ratio"));
    figures.extend(ratio.into_iter().chain([floor]));

    if let Some(world) = sqlite_world {
        let mut world = world.again(&PACK_SOON).await?;
        let left = options.runs.saturating_sub(world.runs);
        say(&format!("a history of {} runs", options.runs));
        let (rate, again) = world.fill(left, Duration::from_micros(FILL_US * options.runs)).await?;
        for (name, value) in [(RUNS_PER_SECOND, rate), (SENT_AGAIN, again)] {
            figures.push(Figure::new("SQLite, packing and evicting", name, None, vec![value]));
        }
        history::packed(&file).await?;
        figures.extend(history::sizes(&world, &file).await?);
        goals.push(Goal::new("runs in the history", Bound::AtLeast, count(options.runs), count(world.runs)));
        let (found, wanted) = history::asked(&world).await?;
        figures.extend(found);
        goals.extend(wanted);
        checks.push(once("the history", &world).await?);
        world.plane.stop().await?;
    }

    let settings = serde_json::json!({
        "rounds": options.general.rounds,
        "seconds": options.general.seconds,
        "accounts": ACCOUNTS,
        "gateways": GATEWAYS,
        "nodes_of_a_gateway": generator::NODES,
        "runs_of_a_batch": FULL.batch,
        "batches_on_their_way": generator::IN_FLIGHT_MAX,
        "history_runs": options.runs,
        "history_flags": PACK_SOON,
        "crowdcloud": "control-plane, default configuration, alone with its nats-server; asked over NATS, as a gateway asks",
        "floor": "an id and the text of an observation for each run, by prepared statements of 500 rows, in transactions of \
                  as many runs as the cuts of the same round had; the same driver, write-ahead log and flushes",
        "postgresql": "default configuration; flushed as it has it",
        "cuts_p99": "the bound of a histogram that at least 99 % were below",
        "crowdcloud_version": machine::version(&parts.program),
        "nats_server": machine::version(&parts.nats_server),
    });
    Ok(Report { benchmark: "books", at, machine: Machine::here(), settings, figures, goals, checks })
}

/// A PostgreSQL server with a new database, where the machine has one.
fn postgres(folder: &Path) -> Option<provision::Postgres> {
    let started = provision::Postgres::start(folder, &["max_connections=100"]);
    started.inspect_err(|error| say(&format!("no figures of {POSTGRES}: {error}"))).ok()
}

/// What a control plane takes that has nothing to do.
async fn idle(plane: &ControlPlane) -> anyhow::Result<Vec<Figure>> {
    say(&format!("idle for {} s", (CALM + IDLE).as_secs()));
    tokio::time::sleep(CALM).await;
    let (cpu, cuts) = (plane.cpu_of_threads(), plane.cuts().await?);
    tokio::time::sleep(IDLE).await;
    let (cpu, cuts) = (plane.cpu_of_threads().saturating_sub(cpu), plane.cuts().await?.since(&cuts));
    let figure = |name, value: f64| Figure::new("idle control plane", name, None, vec![value / IDLE.as_secs_f64()]);
    Ok(vec![figure("cpu_ms_per_second", cpu.as_secs_f64() * 1e3), figure("cuts_per_second", cuts.count)])
}

const RUNS_PER_SECOND: &str = "runs_per_second";
const HALVES_PER_SECOND: &str = "halves_per_second";
const CPU: &str = "control_plane_cpu_us_per_run";
/// The same while nobody asks for anything.
const UNASKED_CPU: &str = "unasked_control_plane_cpu_us_per_run";
const CUT_P99: &str = "cut_p99_ms_at_most";
const NEWEST_P99: &str = "newest_page_p99_ms";
const OTHERS_P99: &str = "other_asks_p99_ms";
/// Batches and checkpoints that were sent more than once: what a change of the leader costs, beside time.
const SENT_AGAIN: &str = "sent_again";

fn of_rounds(of: &str, rounds: &[Round]) -> Vec<Figure> {
    let figure = |name, value: fn(&Round) -> f64| Figure::new(of, name, None, rounds.iter().map(value).collect());
    let mut figures = vec![
        figure(HALVES_PER_SECOND, |round| 2.0 * round.runs_per_second),
        figure(RUNS_PER_SECOND, |round| round.runs_per_second),
        figure(CPU, |round| round.cpu_us),
        figure("runs_per_cut", |round| round.runs_per_cut),
        figure("cut_mean_ms", |round| round.cuts.mean_ms()),
        figure(CUT_P99, |round| round.cuts.at_most_ms(99.0)),
        figure("newest_page_p50_ms", |round| quantile(&round.heard.newest, 50)),
        figure(NEWEST_P99, |round| quantile(&round.heard.newest, 99)),
        figure("other_asks_p50_ms", |round| quantile(&round.heard.others, 50)),
        figure(OTHERS_P99, |round| quantile(&round.heard.others, 99)),
        figure(SENT_AGAIN, |round| round.again),
    ];
    let of_database: Vec<f64> = rounds.iter().filter_map(|round| round.database_us).collect();
    if !of_database.is_empty() {
        figures.push(Figure::new(of, "database_cpu_us_per_run", None, of_database));
    }
    figures
}

/// The median of a figure.
fn median(figures: &[Figure], name: &str) -> f64 {
    figures.iter().find(|figure| figure.figure == name).map_or(f64::NAN, |figure| figure.median)
}

fn full_goals(name: &str, found: &[Figure]) -> Vec<Goal> {
    let p99 = median(found, NEWEST_P99).max(median(found, OTHERS_P99));
    vec![
        Goal::new(
            format!("halves settled a second, {name}"),
            Bound::AtLeast,
            20_000.0,
            median(found, HALVES_PER_SECOND),
        ),
        Goal::new(format!("p99 of the API meanwhile in milliseconds, {name}"), Bound::AtMost, 100.0, p99),
    ]
}

fn held_goals(what: &str, found: &[Figure]) -> Vec<Goal> {
    vec![
        Goal::new(format!("{what}: CPU us a run while nobody asks"), Bound::AtMost, 30.0, median(found, UNASKED_CPU)),
        Goal::new(format!("{what}: p99 of cuts in milliseconds"), Bound::AtMost, 50.0, median(found, CUT_P99)),
    ]
}

/// Whether each run was settled, once, and as both halves say.
async fn once(what: &str, world: &World) -> anyhow::Result<Check> {
    let (runs, flagged) = world.told().await?;
    let held = (runs, flagged) == (world.runs, 0);
    let found = format!("{runs} of {} runs, {flagged} flagged", world.runs);
    Ok(Check::new(format!("{what}: each run is settled once"), held, found))
}

/// The nearest whole number of rows, within reason.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "runs of a cut")]
fn whole(number: f64) -> usize {
    number.round().clamp(1.0, 100_000.0) as usize
}
