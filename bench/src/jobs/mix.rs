//! A mix of work on three nodes of different speeds: thumbnails of pictures of three sizes in the wasm lane, prime
//! numbers in the VM lane. The same jobs come at the same times, placed by each policy by turns.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use protocol::api::Artifact;
use protocol::job::{Job, JobInput, JobState, SubmitJob};
use protocol::{Digest, NodeId};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::JobOptions;
use super::client::{Jobs, seconds};
use super::throttle::Throttle;
use crate::checks::{Bound, Check, Goal};
use crate::figures::Figure;
use crate::http;
use crate::platform::{Parts, Platform};
use crate::process::free_address;
use crate::say;

/// Of each node, the part of the time in which it runs.
pub(super) const SPEEDS: [f64; 3] = [0.6, 0.3, 0.15];
const FLAGS: [&str; 3] = ["--separate", "--executors", "3"];
const POLICIES: [&str; 2] = ["learned", "least-loaded"];
/// Before the model: enough runs of each kind on each node.
const LEARNED_FROM: usize = 320;
const MODEL_WITHIN: Duration = Duration::from_secs(120);
const LANE_WITHIN: Duration = Duration::from_secs(240);
const DRAINED_WITHIN: Duration = Duration::from_secs(600);

/// A figure's name, its ratio's name, and what it is of slowdowns.
type Quantity = (&'static str, &'static str, fn(&[f64]) -> f64);

/// One kind of work.
struct Work {
    name: &'static str,
    function: &'static str,
    path: &'static str,
    /// The side of the picture that it gets; none: no picture.
    side: Option<u32>,
    /// Its share of all jobs.
    share: f64,
}

const WORK: [Work; 4] = [
    Work { name: "thumbnail of 200 x 200", function: "thumbs", path: "/?width=64", side: Some(200), share: 0.5 },
    Work { name: "thumbnail of 800 x 800", function: "thumbs", path: "/?width=64", side: Some(800), share: 0.3 },
    Work { name: "thumbnail of 2400 x 2400", function: "thumbs", path: "/?width=64", side: Some(2400), share: 0.12 },
    Work { name: "primes in a VM", function: "primes", path: "/?below=60000", side: None, share: 0.08 },
];

pub(super) fn description() -> Vec<String> {
    WORK.iter().map(|work| format!("{} ({:.0} %)", work.name, work.share * 100.0)).collect()
}

/// What was found.
pub(super) struct Mixed {
    pub(super) figures: Vec<Figure>,
    pub(super) goals: Vec<Goal>,
    pub(super) checks: Vec<Check>,
}

/// One turn's jobs, as slowdowns: the time from submission to end over what such a job takes on the fastest node.
struct Turn {
    slowdowns: Vec<f64>,
    failed: usize,
    learned: usize,
}

#[allow(clippy::too_many_lines, reason = "one story: learn, then turn by turn")]
pub(super) async fn run(parts: &Parts, options: &JobOptions) -> anyhow::Result<Mixed> {
    let folder = tempfile::tempdir()?;
    say("a mix on three nodes: learning");
    configure(folder.path(), POLICIES[0])?;
    let address = free_address()?;
    let platform = Platform::start_at(parts, folder.path(), &FLAGS, address).await?;
    platform.deploy()?;
    deploy(parts, &platform)?;
    lanes_are_ready(&platform).await?;
    let slowed = throttles(&platform)?;
    let inputs = upload(&platform).await?;
    let learned = learn(&platform, &inputs).await?;
    drop(slowed);
    platform.stop().await?;

    let per_second = options.load * learned.per_second;
    let alone = learned.alone;
    say(&format!("{per_second:.2} jobs a second; on the fastest node they take {alone:.3?} s"));

    let mut turns: [Vec<Turn>; 2] = [Vec::new(), Vec::new()];
    for round in 0..options.general.rounds as usize {
        for turn in 0..POLICIES.len() {
            let which = (round + turn) % POLICIES.len();
            say(&format!("round {} of {}: {}", round + 1, options.general.rounds, POLICIES[which]));
            configure(folder.path(), POLICIES[which])?;
            let platform = Platform::start_at(parts, folder.path(), &FLAGS, address).await?;
            lanes_are_ready(&platform).await?;
            let slowed = throttles(&platform)?;
            let arrivals = arrivals(round as u64, per_second, options.mix_seconds);
            turns[which].push(one_turn(&platform, &inputs, &alone, &arrivals).await?);
            drop(slowed);
            platform.stop().await?;
        }
    }
    Ok(compare(&turns, &alone))
}

fn compare(turns: &[Vec<Turn>; 2], alone: &[f64]) -> Mixed {
    let of = |which: usize, name: &'static str, figure: fn(&[f64]) -> f64| {
        let values = turns[which].iter().map(|turn| figure(&turn.slowdowns)).collect();
        Figure::new(POLICIES[which], name, None, values)
    };
    let mut figures: Vec<Figure> = WORK
        .iter()
        .zip(alone)
        .map(|(work, alone)| Figure::new(work.name, "alone_on_the_fastest_node_seconds", None, vec![*alone]))
        .collect();
    let mut goals = Vec::new();
    let quantities: [Quantity; 3] = [
        ("slowdown_mean", "slowdown_mean_ratio", mean),
        ("slowdown_p50", "slowdown_p50_ratio", |values| quantile(values, 50)),
        ("slowdown_p95", "slowdown_p95_ratio", |values| quantile(values, 95)),
    ];
    for (name, ratio, figure) in quantities {
        let [learned, least] = [of(0, name, figure), of(1, name, figure)];
        let ratio = learned.over(&least, ratio);
        goals.push(Goal::new(format!("{}: {name}", ratio.of), Bound::AtMost, 1.0, ratio.median));
        figures.extend([learned, least, ratio]);
    }
    let all = turns.iter().flatten();
    let failed: usize = all.clone().map(|turn| turn.failed).sum();
    let jobs: usize = all.map(|turn| turn.slowdowns.len()).sum();
    let learned: usize = turns[0].iter().map(|turn| turn.learned).sum();
    let of_learned: usize = turns[0].iter().map(|turn| turn.slowdowns.len()).sum();
    let checks = vec![
        Check::new("every job of the mix succeeded", failed == 0 && jobs > 0, format!("{jobs} jobs, {failed} failed")),
        Check::new(
            "the learned policy's jobs were placed by a model",
            learned * 10 >= of_learned * 9,
            format!("{learned} of {of_learned}"),
        ),
    ];
    Mixed { figures, goals, checks }
}

/// One job at a time on each node, and a model soon.
fn configure(folder: &Path, policy: &str) -> anyhow::Result<()> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let text = format!(
        "[control-plane]\njobs-policy = \"{policy}\"\ntrain-every = \"4s\"\njobs-slots-share = 100\n\
         [executor]\nnode-slots = 1\n"
    );
    Ok(std::fs::write(data.join("config.toml"), text)?)
}

fn deploy(parts: &Parts, platform: &Platform) -> anyhow::Result<()> {
    let examples = parts.component.ancestors().nth(3).context("the examples' folder")?;
    platform.deploy_more(&examples.join("thumbnail/dist/thumbnail.wasm"), "thumbs", &["--timeout", "60s"])?;
    let flags = ["--timeout", "60s", "--memory", "64MiB", "--cpus", "1"];
    platform.deploy_more(&examples.join("primes/dist/primes"), "primes", &flags)?;
    Ok(())
}

fn throttles(platform: &Platform) -> anyhow::Result<Vec<Throttle>> {
    let pids = platform.pids()?;
    let one = |(number, speed): (usize, &f64)| {
        let name = format!("executor-{}", number + 1);
        let pid = pids.get(&name).with_context(|| format!("there is no {name}"))?;
        Ok(Throttle::new(*pid, *speed))
    };
    SPEEDS.iter().enumerate().map(one).collect()
}

async fn lanes_are_ready(platform: &Platform) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let nodes: serde_json::Value = serde_json::from_str(&platform.command(&["nodes", "list", "--json"], "")?)?;
        let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
        if nodes.len() == SPEEDS.len() && nodes.iter().all(|node| node["vm"]["state"] == "ready") {
            return Ok(());
        }
        ensure!(began.elapsed() < LANE_WITHIN, "not all nodes have the VM lane: {nodes:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A picture that does not compress to nothing: stripes and a little noise, as an uncompressed PNG's pixels.
fn picture(side: u32) -> anyhow::Result<Bytes> {
    let mut rng = SmallRng::seed_from_u64(side.into());
    let mut pixels = Vec::with_capacity(side as usize * side as usize * 3);
    for y in 0..side {
        for x in 0..side {
            let shade = u8::try_from((x / 8 + y / 8) % 200).unwrap_or(0);
            pixels.extend([shade, shade / 2, rng.random_range(0..32)]);
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file.into())
}

/// The inputs of each kind of work.
async fn upload(platform: &Platform) -> anyhow::Result<Vec<Option<Digest>>> {
    let jobs = Jobs::of(platform)?;
    let mut inputs = Vec::new();
    for work in &WORK {
        let Some(side) = work.side else {
            inputs.push(None);
            continue;
        };
        let answer = http::get(&jobs.at("/uploads").with_bytes(picture(side)?)).await?;
        ensure!(answer.status().is_success(), "{}: {:?}", answer.status(), answer.body());
        inputs.push(Some(serde_json::from_slice::<Artifact>(answer.body())?.digest));
    }
    Ok(inputs)
}

fn job(which: usize, inputs: &[Option<Digest>]) -> SubmitJob {
    let mut job = SubmitJob::of(WORK[which].function);
    job.path = Some(WORK[which].path.to_owned());
    job.input = inputs[which].map(JobInput::Upload);
    job.labels.insert("work".to_owned(), which.to_string());
    job
}

/// What was seen before the first turn.
struct Seen {
    /// What each kind of work takes on the fastest node, in seconds.
    alone: Vec<f64>,
    /// Jobs of the mix that all nodes together can do in a second.
    per_second: f64,
}

/// Runs enough for a model, and waits for it.
async fn learn(platform: &Platform, inputs: &[Option<Digest>]) -> anyhow::Result<Seen> {
    let jobs = Jobs::of(platform)?;
    for number in 0..LEARNED_FROM {
        jobs.submit(&job(number % WORK.len(), inputs)).await?;
    }
    let began = Instant::now();
    while jobs.open().await? {
        ensure!(began.elapsed() < DRAINED_WITHIN, "what is learned from does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let began = Instant::now();
    loop {
        let one = jobs.submit(&job(0, inputs)).await?;
        let why = jobs.why_after(one.id).await?;
        if why.placement.is_some_and(|placement| placement.policy == "learned") {
            break;
        }
        ensure!(began.elapsed() < MODEL_WITHIN, "no model within {MODEL_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut times: BTreeMap<NodeId, Vec<Vec<f64>>> = BTreeMap::new();
    for which in 0..WORK.len() {
        for job in jobs.all(&format!("label=work%3D{which}")).await? {
            let (Some(node), Some(started), Some(ended)) = (job.node, job.started, job.ended) else { continue };
            times.entry(node).or_insert_with(|| vec![Vec::new(); WORK.len()])[which].push(seconds(started, ended));
        }
    }
    // A node that had none of a kind is not known well enough: there are enough of each for that not to be.
    let known: Vec<Vec<f64>> = times.into_values().map(|kinds| kinds.iter().map(|kind| mean(kind)).collect()).collect();
    ensure!(
        known.len() == SPEEDS.len() && known.iter().flatten().all(|s| s.is_finite()),
        "not every node did all: {known:?}"
    );
    let of_mix = |kinds: &Vec<f64>| WORK.iter().zip(kinds).map(|(work, s)| work.share * s).sum::<f64>();
    let per_second = known.iter().map(|kinds| 1.0 / of_mix(kinds)).sum();
    let fastest = known.into_iter().min_by(|a, b| of_mix(a).total_cmp(&of_mix(b))).context("no nodes")?;
    Ok(Seen { alone: fastest.into_iter().map(|s| s.max(1e-3)).collect(), per_second })
}

/// When which work comes: at random, the same for each policy.
fn arrivals(seed: u64, per_second: f64, lasting: u64) -> Vec<(Duration, usize)> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut at, mut arrivals) = (0.0, Vec::new());
    loop {
        at -= (1.0 - rng.random::<f64>()).ln() / per_second;
        if at > Duration::from_secs(lasting).as_secs_f64() {
            return arrivals;
        }
        let mut left = rng.random::<f64>();
        let which = WORK.iter().position(|work| {
            left -= work.share;
            left < 0.0
        });
        arrivals.push((Duration::from_secs_f64(at), which.unwrap_or(0)));
    }
}

async fn one_turn(
    platform: &Platform,
    inputs: &[Option<Digest>],
    alone: &[f64],
    arrivals: &[(Duration, usize)],
) -> anyhow::Result<Turn> {
    let jobs = Jobs::of(platform)?;
    // The model, the nodes and what they have loaded are there again.
    for which in 0..WORK.len() {
        let one = jobs.submit(&job(which, inputs)).await?;
        jobs.why_after(one.id).await?;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let began = Instant::now();
    let mut submitted = Vec::with_capacity(arrivals.len());
    for (at, which) in arrivals {
        tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
        submitted.push((*which, jobs.submit(&job(*which, inputs)).await?.id));
    }
    while jobs.open().await? {
        ensure!(began.elapsed() < DRAINED_WITHIN, "the mix does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut turn = Turn { slowdowns: Vec::new(), failed: 0, learned: 0 };
    for (which, id) in submitted {
        let job: Job = jobs.show(id).await?;
        match job.ended {
            Some(ended) if job.state == JobState::Succeeded => {
                turn.slowdowns.push(seconds(job.created, ended) / alone[which]);
            }
            _ => turn.failed += 1,
        }
        let why = jobs.why_after(id).await?;
        turn.learned += usize::from(why.placement.is_some_and(|placement| placement.policy == "learned"));
    }
    Ok(turn)
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}
