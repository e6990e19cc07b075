//! A workload with the published statistics of the Azure Functions trace (Shahrad et al., "Serverless in the Wild",
//! USENIX ATC 2020), for whoever has no trace: heavy-tailed popularity, log-normal durations, Burr memory, the
//! published mix of triggers.

use std::time::Duration;

use protocol::Lane;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, Exp1, LogNormal, StandardNormal};

use super::workload::{Arrival, FunctionSpec, Workload};

/// Mean run times of functions, in seconds: log-normal with this log mean and deviation (figure 7 there).
const RUN_LOG_MEAN: f64 = -0.38;
const RUN_LOG_DEVIATION: f64 = 2.36;
/// The platform's limit.
const RUN_MAX_S: f64 = 300.0;
/// How a function's runs spread around its mean (log deviation, drawn evenly).
const SPREAD: std::ops::Range<f64> = 0.2..1.2;
/// Memory of an app, in MiB: Burr XII with these (figure 8 there).
const MEMORY_BURR: (f64, f64, f64) = (11.652, 0.221, 107.083);
const MEMORY_MAX_MIB: f64 = 1_500.0;
/// Calls a day, as powers of ten, and the share of functions below (figure 5a there: 45 % at most hourly, 81 % at most
/// once a minute, the rest over orders of magnitude).
const POPULARITY: [(f64, f64); 6] = [(0.0, 0.0), (1.38, 0.45), (3.16, 0.81), (4.5, 0.95), (5.3, 0.99), (6.0, 1.0)];
/// Triggers and their share of functions (figure 2 there).
const TRIGGERS: [(Trigger, f64); 4] =
    [(Trigger::Http, 0.640), (Trigger::Timer, 0.156), (Trigger::Queue, 0.152), (Trigger::Event, 0.052)];
/// No function keeps more cores busy than this alone: popular functions are short ones.
const WORK_MAX: f64 = 12.0;
/// How many functions take longer for more input, and the power.
const SIZED_SHARE: f64 = 0.3;
const SIZED_POWER: f64 = 0.7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// Poisson, with busy and quiet spells.
    Http,
    /// At exact intervals.
    Timer,
    /// In batches.
    Queue,
    /// Poisson.
    Event,
}

/// `functions` functions over `length`.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations and memory are small")]
pub fn generate(functions: usize, length: Duration, vm_share: f64, seed: u64) -> Workload {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut specs = Vec::with_capacity(functions);
    let mut arrivals = Vec::new();
    for place in 0..functions {
        let lane = if rng.random_bool(vm_share) { Lane::Vm } else { Lane::Wasm };
        let (c, k, scale) = MEMORY_BURR;
        let memory = scale * ((1.0 - rng.random::<f64>()).powf(-1.0 / k) - 1.0).powf(1.0 / c);
        specs.push(FunctionSpec::new(place, lane, memory.clamp(16.0, MEMORY_MAX_MIB) as u64));

        let mean_s =
            (RUN_LOG_MEAN + RUN_LOG_DEVIATION * rng.sample::<f64, _>(StandardNormal)).exp().min(RUN_MAX_S / 2.0);
        let spread = rng.random_range(SPREAD);
        // The mean of a log-normal is above its median.
        let median_s = mean_s / (spread * spread / 2.0).exp();
        let per_s = (10_f64.powf(popularity(rng.random())) / 86_400.0).min(WORK_MAX / mean_s);
        let sized = rng.random_bool(SIZED_SHARE);
        for at_s in times(trigger(rng.random()), per_s, length.as_secs_f64(), &mut rng) {
            let size: f64 = rng.sample(StandardNormal);
            let by_size = if sized { (SIZED_POWER * size).exp() } else { 1.0 };
            let noise = if sized { spread / 2.0 } else { spread } * rng.sample::<f64, _>(StandardNormal);
            let run_s = (median_s * by_size * noise.exp()).clamp(0.0005, RUN_MAX_S);
            arrivals.push(Arrival {
                at_us: (at_s * 1e6) as u64,
                function: u32::try_from(place).unwrap_or(u32::MAX),
                run_us: (run_s * 1e6) as u64,
                input: (10_000.0 * size.exp()) as u64,
            });
        }
    }
    Workload::new("generated".to_owned(), specs, arrivals, length)
}

fn popularity(share: f64) -> f64 {
    let upper = POPULARITY.partition_point(|(_, below)| *below < share).clamp(1, POPULARITY.len() - 1);
    let ((low, from), (high, to)) = (POPULARITY[upper - 1], POPULARITY[upper]);
    low + (high - low) * (share - from) / (to - from)
}

fn trigger(share: f64) -> Trigger {
    let mut below = 0.0;
    let found = TRIGGERS.into_iter().find(|(_, part)| {
        below += part;
        share < below
    });
    found.map_or(Trigger::Event, |(trigger, _)| trigger)
}

/// When a function of this trigger is called.
fn times(trigger: Trigger, per_s: f64, length_s: f64, rng: &mut SmallRng) -> Vec<f64> {
    let mut times = Vec::new();
    let mut now = 0.0;
    match trigger {
        Trigger::Timer => {
            let every = (1.0 / per_s).max(1.0);
            now = rng.random::<f64>() * every;
            while now < length_s {
                times.push(now);
                now += every;
            }
        }
        Trigger::Event => {
            now += rng.sample::<f64, _>(Exp1) / per_s;
            while now < length_s {
                times.push(now);
                now += rng.sample::<f64, _>(Exp1) / per_s;
            }
        }
        Trigger::Queue => {
            // Batches of 1 to 10, a batch within a second.
            const BATCH_MEAN: f64 = 5.5;
            loop {
                now += rng.sample::<f64, _>(Exp1) * BATCH_MEAN / per_s;
                if now >= length_s {
                    break;
                }
                let batch = rng.random_range(1..=10);
                times.extend((0..batch).map(|_| now + rng.random::<f64>()).filter(|at| *at < length_s));
            }
        }
        Trigger::Http => {
            // Busy spells at 1.8 of the rate and quiet ones at 0.2, minutes long.
            let spell = LogNormal::new(5.0, 0.7);
            let mut busy = rng.random_bool(0.5);
            while now < length_s {
                let ends = now + spell.as_ref().map_or(150.0, |spell| spell.sample(rng));
                let rate = per_s * if busy { 1.8 } else { 0.2 };
                loop {
                    now += rng.sample::<f64, _>(Exp1) / rate;
                    if now >= ends.min(length_s) {
                        break;
                    }
                    times.push(now);
                }
                (now, busy) = (ends, !busy);
            }
        }
    }
    times
}
