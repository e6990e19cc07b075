//! `bench images`: the set of images that the platform's tests run (`tests/src/image_set`), each deployed, called for the
//! first time, and called again.
//!
//! Each round is a platform of its own, so that each deploy converts the image and each first call finds nothing of it but
//! that. The template of the images' size is made before: it is the platform's, not an image's.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use protocol::Timestamp;
use tests::image_set::{self, Recipe};

use crate::checks::Check;
use crate::figures::{Figure, Report};
use crate::http::{self, Connection, Target};
use crate::machine::{self, Machine};
use crate::platform::{Parts, Platform};
use crate::{Options, say};

/// Warm calls of an image in a round, at most.
const WARM_CALLS_MAX: usize = 50;
/// What is deployed before, so that the template of the images' size is there.
const BEFORE: &str = "#!/bin/sh\necho hello\n";
const MIB: f64 = 1_048_576.0;

/// An image that runs.
struct Subject {
    recipe: Recipe,
    archive: PathBuf,
    figures: [Vec<f64>; FIGURES.len()],
}

/// What is found of an image in a round, in the order of `FIGURES`.
const FIGURES: [&str; 4] = ["size_mib", "deploy_ms", "first_call_ms", "warm_call_p50_ms"];

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let at = Timestamp::now().to_string();
    let parts = Parts::from_environment()?;
    let mut subjects = Vec::new();
    for recipe in image_set::all().into_iter().filter(|recipe| !recipe.calls().is_empty()) {
        let archive = recipe.archive(&say)?;
        subjects.push(Subject { recipe, archive, figures: Default::default() });
    }
    let (mut calls, mut wrong) = (0, Vec::new());
    for round in 1..=options.rounds {
        let folder = tempfile::tempdir()?;
        let platform = Platform::start(&parts, folder.path()).await?;
        platform.sign_up()?;
        platform.lane_is_ready().await?;
        before(&platform, folder.path()).await?;
        for subject in &mut subjects {
            say(&format!("round {round} of {}: {}", options.rounds, subject.recipe.name));
            match subject.measure(&platform, Duration::from_secs_f64(options.seconds)).await {
                Ok(count) => calls += count,
                Err(error) => wrong.push(format!("{}: {error:#}", subject.recipe.name)),
            }
        }
        platform.stop().await?;
    }
    let mut figures = Vec::new();
    for (place, name) in FIGURES.into_iter().enumerate() {
        figures.extend(
            subjects.iter_mut().map(|subject| {
                Figure::new(subject.recipe.name, name, None, std::mem::take(&mut subject.figures[place]))
            }),
        );
    }
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "limits": image_set::LIMITS,
        "qemu": provision::find("qemu-system-x86_64").map(machine::version),
        "deploy": "from the command's start to its end: upload, conversion",
        "first_call": "from the template of its size, which is there",
        "warm_call": "a server: its machine is there; a command: a machine of its own for each call",
        "images": subjects.iter().map(|Subject { recipe, .. }| (recipe.name, recipe.shows)).collect::<Vec<_>>(),
    });
    let found = format!("{calls} calls of {} images; {}", subjects.len(), wrong.join("; "));
    let checks = vec![Check::new("every image gives the right responses", wrong.is_empty() && calls > 0, found)];
    Ok(Report { benchmark: "images", at, machine: Machine::here(), settings, figures, goals: Vec::new(), checks })
}

/// Has the template made of the size that all images share.
async fn before(platform: &Platform, folder: &Path) -> anyhow::Result<()> {
    let script = folder.join("before");
    std::fs::write(&script, BEFORE)?;
    let target = platform.deploy_more(&script, "before", &image_set::LIMITS)?;
    http::get(&target).await.map(drop)
}

impl Subject {
    /// One round; how many calls were made.
    async fn measure(&mut self, platform: &Platform, measured: Duration) -> anyhow::Result<usize> {
        let Self { recipe, archive, .. } = self;
        #[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let size_mib = archive.metadata()?.len() as f64 / MIB;
        let (target, deploy) = platform.deploy_timed(archive, recipe.name, &recipe.flags())?;
        let mut connection = Connection::open(target.address).await?;
        let mut first = None;
        for number in 0..recipe.calls().len() {
            let took = call(&mut connection, &target, recipe, number).await?;
            first.get_or_insert(took);
        }
        let (began, mut warm) = (Instant::now(), Vec::new());
        while warm.is_empty() || (warm.len() < WARM_CALLS_MAX && began.elapsed() < measured) {
            warm.push(call(&mut connection, &target, recipe, 0).await?);
        }
        warm.sort();
        let calls = warm.len() + recipe.calls().len();
        let first = first.context("an image without calls")?;
        let found = [size_mib, millis(deploy), millis(first), millis(warm[warm.len() / 2])];
        self.figures.iter_mut().zip(found).for_each(|(figure, value)| figure.push(value));
        Ok(calls)
    }
}

/// One of an image's calls, which must get the right response; how long it took.
async fn call(
    connection: &mut Connection,
    target: &Target,
    recipe: &Recipe,
    number: usize,
) -> anyhow::Result<Duration> {
    let call = recipe.calls().get(number).context("no such call")?;
    let began = Instant::now();
    let answer = connection.send(&target.below(call.path, call.body)).await?;
    let took = began.elapsed();
    call.judge(answer.status().as_u16(), answer.body()).map_err(|why| anyhow!(why))?;
    Ok(took)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
