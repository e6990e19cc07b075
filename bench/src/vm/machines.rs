//! Machines without the platform around them.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use images::bases::Shelf;
use images::{Architecture, Limits, Options, Stop};
use microvm::{Config, Contract, Disk, Host, Paused, Pool, PoolConfig, Run, Shape, Template, Workload};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::{Tools, load_average};
use crate::figures::Figure;
use crate::say;

pub(super) const SHAPE: Shape = Shape { memory_mib: 256, cpus: 1 };
const OVERLAY_BYTES: u64 = 32 << 20;
const CLONES: usize = 20;
const WITHIN: Duration = Duration::from_secs(120);
/// Restores and waiting clones in a round; the round has their middle.
const TIMES_EACH: usize = 3;
/// Each of two threads, in milliseconds of its own CPU time.
const BURN_MS: &str = "1000";
const TOUCH_MIB: f64 = 200.0;

/// A host, an image and its templates.
pub(super) struct Machines {
    host: Host,
    disk: Disk,
    program: String,
    plain: Arc<Template>,
    prepared: Template,
    _folder: TempDir,
}

/// To the first byte of an answer, in milliseconds, by round.
#[derive(Default)]
pub(super) struct Times {
    pub(super) cold: Vec<f64>,
    pub(super) restored: Vec<f64>,
    pub(super) restored_prepared: Vec<f64>,
    pub(super) waiting: Vec<f64>,
}

impl Machines {
    pub(super) async fn open(tools: &Tools) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = Config {
            qemu: tools.qemu.clone(),
            kernel: tools.folder.join("kernel"),
            agent: tools.folder.join("guest-agent"),
            work: folder.path().join("machines"),
            qemu_tree: None,
            first_uid: Config::FIRST_UID,
        };
        let host = Host::open(config).await?;
        let options = Options {
            architecture: Architecture::HOST,
            command: Vec::new(),
            base: None,
            bases: &Shelf::new(tools.folder.join("bases")),
            folder: folder.path(),
            limits: Limits::default(),
            stop: Stop::default(),
        };
        let image = images::convert(File::open(&tools.guest)?, &options)?;
        let disk = Disk::open(&image.rootfs.path)?;
        let program = image.config.program;
        let plain = Arc::new(host.template(SHAPE).await?);
        let warm = [program.trim_start_matches('/').to_owned()];
        let prepared = plain.prepared(&disk, OVERLAY_BYTES, &warm).await?;
        Ok(Self { host, disk, program, plain, prepared, _folder: folder })
    }

    pub(super) fn accelerator(&self) -> &'static str {
        self.host.accelerator().as_str()
    }

    pub(super) fn turns_per_ms(&self) -> f64 {
        f64::from(self.host.speed().turns_per_ms)
    }

    /// All ways to a first reply, by turns.
    pub(super) async fn times(&self, rounds: u32, loads: &mut Vec<f64>) -> anyhow::Result<Times> {
        let budget = PoolConfig { ready: 1, memory_bytes: SHAPE.memory_bytes() };
        let warm = vec![self.program.trim_start_matches('/').to_owned()];
        let disk = Some(self.disk.clone());
        let pool = Pool::new(Arc::clone(&self.plain), disk, Contract::Command, OVERLAY_BYTES, warm, budget);
        let mut times = Times::default();
        for round in 1..=rounds {
            say(&format!("round {round} of {rounds}: cold, restored, waiting"));
            times.cold.push(self.timed(self.host.boot(SHAPE, &self.disk)).await?);
            let (mut restored, mut prepared, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..TIMES_EACH {
                restored.push(self.timed(self.plain.restore(Some(&self.disk))).await?);
                prepared.push(self.timed(self.prepared.restore(None)).await?);
                pool.fill().await?;
                waiting.push(self.timed(pool.take()).await?);
            }
            times.restored.push(middle(restored));
            times.restored_prepared.push(middle(prepared));
            times.waiting.push(middle(waiting));
            loads.push(load_average());
        }
        Ok(times)
    }

    async fn timed(&self, machine: impl Future<Output = Result<Paused, microvm::Error>>) -> anyhow::Result<f64> {
        let began = Instant::now();
        let mut run = machine.await?.start(self.workload(&["hello"]), WITHIN).await?;
        let first = first_reply(&mut run).await?;
        let took = began.elapsed();
        ensure!(first == b"hello\n", "the guest said {:?}", String::from_utf8_lossy(&first));
        Ok(took.as_secs_f64() * 1e3)
    }

    /// What clones hold for themselves while all of them live and have answered: each, and over their guests' memory.
    pub(super) async fn memory(&self) -> anyhow::Result<[Figure; 2]> {
        let mut runs = Vec::new();
        for _ in 0..CLONES {
            let clone = self.plain.restore(Some(&self.disk)).await?;
            let mut run = clone.start(self.workload(&["linger"]), WITHIN).await?;
            first_reply(&mut run).await?;
            runs.push(run);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let own = runs.iter().map(|run| Some(mib(run.private_memory()?))).collect::<Option<Vec<_>>>();
        let own = own.context("the kernel does not say what memory is private")?;
        for run in &mut runs {
            run.stop().await;
            run.ended().await;
        }
        let ratios = own.iter().map(|own| own / f64::from(SHAPE.memory_mib)).collect();
        let of = format!("clone, {}", self.accelerator());
        Ok([
            Figure::new(&of, "private_memory_mib", None, own),
            Figure::new(&of, "private_memory_over_guest_memory", None, ratios),
        ])
    }

    /// What is recorded of a program over what it says itself: CPU time by its own clock, memory that it touches.
    pub(super) async fn metered(&self, rounds: u32) -> anyhow::Result<[Figure; 2]> {
        let shape = Shape { memory_mib: 384, cpus: 2 };
        let template = self.host.template(shape).await?;
        let (mut cpu, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let clone = template.restore(Some(&self.disk)).await?;
            let mut run = clone.start(self.workload(&["burn", BURN_MS, &TOUCH_MIB.to_string()]), WITHIN).await?;
            let mut said = String::new();
            run.stdio.as_mut().context("no stdout")?.read_to_string(&mut said).await?;
            let usage = run.ended().await.usage.context("the guest did not say what it used")?;
            let own =
                said.lines().find_map(|line| line.strip_prefix("used ")?.strip_suffix(" us")?.parse::<f64>().ok());
            let own = own.with_context(|| format!("the guest said {said:?}"))?;
            cpu.push(Duration::from_micros(usage.cpu_us).as_secs_f64() * 1e6 / own);
            memory.push(mib(usage.memory_peak_bytes) / TOUCH_MIB);
        }
        let of = format!("recorded / by the guest's own clock, {}", self.accelerator());
        Ok([Figure::new(&of, "cpu_ratio", None, cpu), Figure::new(&of, "memory_peak_ratio", None, memory)])
    }

    fn workload(&self, arguments: &[&str]) -> Workload {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Workload {
            contract: Contract::Command,
            argv: std::iter::once(self.program.clone()).chain(arguments).collect(),
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            memory_bytes: None,
            pids_max: 64,
            files_max: 1024,
            overlay_bytes: OVERLAY_BYTES,
            egress: microvm::Egress::None,
        }
    }
}

async fn first_reply(run: &mut Run) -> anyhow::Result<Vec<u8>> {
    let mut output = vec![0; 64];
    let read = run.stdio.as_mut().context("no stdout")?.read(&mut output).await?;
    ensure!(read > 0, "the guest said nothing: {:?}", run.ended().await);
    output.truncate(read);
    Ok(output)
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
