//! `bench vm`: how soon a microVM answers, what it holds, whether what it used is recorded, and what a warm server in
//! one adds to a call.
//!
//! In each round, one after the other: a guest booted cold, guests restored from templates, guests that waited
//! restored; each to the first byte of the same program's answer. Then twenty clones at one time, a program that burns
//! a known time, and the platform: a warm server in a VM, a function in the wasm lane, and the same server run natively
//! by turns. Ratios are of one run on one machine; the accelerator is in every name.

mod machines;
mod servers;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use protocol::Timestamp;

use self::machines::Machines;
use crate::checks::{Bound, Goal};
use crate::figures::{Figure, Report};
use crate::machine::{self, Machine};
use crate::{Options, say};

/// Cold boot over restore, to the first reply.
const RESTORE_RATIO_MIN: f64 = 30.0;
/// Cold boot over a clone that waited.
const WAITING_RATIO_MIN: f64 = 80.0;
/// Memory of a clone's own over its guest's memory.
const PRIVATE_RATIO_MAX: f64 = 0.25;
/// What a warm call of a server adds over what a call of the wasm lane adds.
const WARM_RATIO_MAX: f64 = 3.0;
/// Of what was used, what is recorded: this far off at most.
const METERED_OFF_MAX: f64 = 0.10;

/// What the lane is made of, as `cargo xtask bench` says.
#[derive(Debug, Clone)]
struct Tools {
    qemu: PathBuf,
    /// With the kernel and the agent.
    folder: PathBuf,
    /// The program that guests run.
    guest: PathBuf,
}

impl Tools {
    fn from_environment() -> anyhow::Result<Self> {
        let place = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.with_context(|| format!("{name} is not set; `cargo xtask bench vm` sets it"))
        };
        let qemu = provision::find("qemu-system-x86_64");
        let tools = Self {
            qemu: qemu.context("there is no qemu-system-x86_64: `cargo xtask setup` fetches it")?,
            folder: place("CROWDCLOUD_VM_TOOLS")?,
            guest: place("CROWDCLOUD_BENCH_GUEST")?,
        };
        ensure!(tools.folder.join("kernel").is_dir(), "there is no guests' kernel: `cargo xtask setup` fetches it");
        Ok(tools)
    }
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let tools = Tools::from_environment()?;
    let at = Timestamp::now().to_string();
    let mut loads = vec![load_average()];
    say("which accelerator works, and templates");
    let machines = Machines::open(&tools).await?;
    let under = machines.accelerator();
    let mut figures =
        vec![Figure::new(&format!("guest, {under}"), "turns_per_ms", None, vec![machines.turns_per_ms()])];

    let times = machines.times(options.rounds, &mut loads).await?;
    let of =
        |what: &str, values: &[f64]| Figure::new(&format!("{what}, {under}"), "first_reply_ms", None, values.into());
    let cold = of("cold boot", &times.cold);
    let others = [
        of("restore, a version's first machines", &times.restored),
        of("restore, the version's own template", &times.restored_prepared),
        of("waiting clone", &times.waiting),
    ];
    let ratios = others.iter().map(|other| cold.over(other, "first_reply_ratio")).collect::<Vec<_>>();
    let mut goals = vec![
        // What a version that is called again gets where no clone waits.
        Goal::new(&ratios[1].of, Bound::AtLeast, RESTORE_RATIO_MIN, ratios[1].median),
        Goal::new(&ratios[2].of, Bound::AtLeast, WAITING_RATIO_MIN, ratios[2].median),
    ];
    figures.push(cold);
    figures.extend(others);
    figures.extend(ratios);

    say("twenty clones at one time");
    let memory = machines.memory().await?;
    goals.push(Goal::new(
        "private memory of 20 live clones / their guests' memory",
        Bound::AtMost,
        PRIVATE_RATIO_MAX,
        memory[1].median,
    ));
    figures.extend(memory);

    say("what is recorded of two busy CPUs");
    let metered = machines.metered(options.rounds.min(3)).await?;
    for figure in &metered {
        let off = figure.rounds.iter().map(|ratio| (ratio - 1.0).abs()).fold(0.0, f64::max);
        goals.push(Goal::new(format!("{}: furthest from 1", figure.figure), Bound::AtMost, METERED_OFF_MAX, off));
    }
    figures.extend(metered);
    loads.push(load_average());

    let served = servers::run(options, &tools, under).await?;
    goals.push(Goal::new(
        "a warm call of a server adds / a call of the wasm lane adds, the guests' own time apart",
        Bound::AtMost,
        WARM_RATIO_MAX,
        served.added_ratio,
    ));
    figures.extend(served.figures);
    loads.push(load_average());
    figures.push(Figure::new("this machine, others' work included", "load_average_1m", None, loads));

    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "accelerator": under,
        "qemu": machine::version(&tools.qemu),
        "guest_memory_mib": machines::SHAPE.memory_mib,
        "program": "guest-agent/examples/guest: static, says hello; as a server it answers in HTTP/1.1",
        "first_reply": "from the order to the first byte of the program's answer, QEMU's own start included but for waiting clones",
    });
    Ok(Report { benchmark: "vm", at, machine: Machine::here(), settings, figures, goals, checks: served.checks })
}

/// Of the last minute: what else ran here.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}
