//! `bench store`: what it costs to keep bytes. Blobs, sealed and in one or two copies, beside the same bytes in files that are
//! written and flushed by hand, and beside the chunks of the release before, in the same rounds; what is left of reading when
//! one of two disks is gone; how long an index of a million blobs is swept; memory while much passes; and what of it users
//! feel: a deploy, and the submission of a job with a large input.

mod degraded;
mod filesystem;
mod floor;
mod passing;
mod speed;
mod sweep;
mod whole;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use protocol::{Epoch, Timestamp};
use store::Store;
use store::engine::{Disk, Engine};

use crate::Options;
use crate::checks::{Check, Goal};
use crate::figures::{Figure, Report};
use crate::machine::{self, Machine};
use crate::platform::Parts;

/// Nobody sweeps what is put here.
const EPOCH: Epoch = Epoch(1);
const MIB: usize = 1 << 20;

/// What a part of it found.
#[derive(Default)]
struct Found {
    figures: Vec<Figure>,
    goals: Vec<Goal>,
    checks: Vec<Check>,
}

/// How to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StoreOptions {
    #[command(flatten)]
    pub(crate) general: Options,
    /// Measure also where files are in memory, and flushing them does nothing
    #[arg(long)]
    in_memory: bool,
}

impl StoreOptions {
    /// As usual, on a disk.
    pub(crate) fn usual(general: Options) -> Self {
        Self { general, in_memory: false }
    }
}

/// Measures everything.
pub(crate) async fn run(options: &StoreOptions) -> anyhow::Result<Report> {
    let StoreOptions { general: options, in_memory } = options;
    let file_system = filesystem::require(&std::env::temp_dir(), *in_memory)?;
    let parts = Parts::from_environment()?;
    let at = Timestamp::now().to_string();
    // Memory first: what others have freed is not given back.
    let all = [
        Box::pin(passing::measure()).await?,
        Box::pin(speed::measure(options)).await?,
        Box::pin(degraded::measure(options)).await?,
        Box::pin(sweep::measure(options)).await?,
        Box::pin(whole::measure(&parts, options)).await?,
    ];
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "file_system": file_system,
        "by_hand": floor::BY_HAND,
        "release_before": floor::RELEASE_BEFORE,
        "copies": "two folders of one disk, told apart by name: two failure domains as the store sees them",
        "one_caller": "one put, and one get, after the other",
        "degraded": "all copies are read once before either figure",
        "reads": "from the kernel's memory: nothing of it is read from the disk",
        "swept_blobs": sweep::BLOBS,
        "swept": "SQLite; one of sixteen is referred to by nobody; without the pauses that a leader makes; engines are empty",
        "passed_bytes": passing::PASSED,
        "crowdcloud_version": machine::version(&parts.program),
    });
    let mut report = Report {
        benchmark: "store",
        at,
        machine: Machine::here(),
        settings,
        figures: Vec::new(),
        goals: Vec::new(),
        checks: Vec::new(),
    };
    for found in all {
        report.figures.extend(found.figures);
        report.goals.extend(found.goals);
        report.checks.extend(found.checks);
    }
    Ok(report)
}

/// A store in so many folders below this one, each a failure domain, with a copy in each.
fn on_disks(folder: &Path, copies: usize) -> anyhow::Result<Store> {
    let mut disks: Vec<Arc<dyn Engine>> = Vec::with_capacity(copies);
    for number in 1..=copies {
        let name = disk(number);
        disks.push(Arc::new(Disk::open(&folder.join(&name))?.in_domain(name)));
    }
    Ok(Store::on(disks, NonZeroUsize::try_from(copies)?))
}

/// The folder, and the failure domain, of one disk.
fn disk(number: usize) -> String {
    format!("disk-{number}")
}

#[allow(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}
