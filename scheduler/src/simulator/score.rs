//! What a simulation is worth: slowdowns, cold starts, utilisation, and whether somebody starves.

use std::time::Duration;

use protocol::placement::Warmth;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::engine::Outcome;
use super::workload::{RUN_FLOOR, Workload};

/// Of a function with fewer scored runs, no p99 is told.
const RUNS_MIN: usize = 100;

/// The figures of one simulation. A slowdown is the time from arrival to end over what the run takes on a warm, idle
/// core of speed 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Score {
    /// Scored runs.
    pub runs: usize,
    /// The median slowdown.
    pub slowdown_p50: f64,
    /// Its 99th percentile.
    pub slowdown_p99: f64,
    /// The mean.
    pub slowdown_mean: f64,
    /// The largest p99 that a function has, of those with at least 100 scored runs.
    pub worst_function_p99: f64,
    /// The largest slowdown of all.
    pub slowdown_max: f64,
    /// The longest wait for a core, in seconds.
    pub wait_max_s: f64,
    /// Cold starts, as a share of runs.
    pub cold_share: f64,
    /// Work that cores did over what they could, cold starts included.
    pub utilisation: f64,
    /// Work that arrived over what cores can do.
    pub offered: f64,
}

/// The figures of the runs that arrived between two times.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of runs")]
pub fn score(workload: &Workload, cluster: &Cluster, outcome: &Outcome, window: (Duration, Duration)) -> Score {
    let between = window.0.as_micros()..window.1.as_micros();
    let mut all = Vec::new();
    let mut by_function: Vec<Vec<f32>> = vec![Vec::new(); workload.functions.len()];
    let (mut cold, mut wait_max_us, mut sum) = (0_usize, 0, 0.0);
    for ended in &outcome.ended {
        let arrival = &workload.arrivals[ended.run as usize];
        if !between.contains(&u128::from(arrival.at_us)) {
            continue;
        }
        let ideal = Duration::from_micros(arrival.run_us).max(RUN_FLOOR).as_micros() as f64;
        #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
        let slowdown = ((ended.at_us - arrival.at_us) as f64 / ideal) as f32;
        all.push(slowdown);
        sum += f64::from(slowdown);
        by_function[arrival.function as usize].push(slowdown);
        cold += usize::from(ended.warmth != Warmth::Warm);
        wait_max_us = wait_max_us.max(ended.started_us - arrival.at_us);
    }
    let seconds = (window.1.saturating_sub(window.0)).as_secs_f64();
    let enough = by_function.iter_mut().filter(|runs| runs.len() >= RUNS_MIN);
    let runs = all.len();
    Score {
        runs,
        slowdown_p50: quantile(&mut all, 0.50),
        slowdown_p99: quantile(&mut all, 0.99),
        slowdown_mean: sum / runs.max(1) as f64,
        worst_function_p99: enough.map(|runs| quantile(runs, 0.99)).fold(0.0, f64::max),
        slowdown_max: quantile(&mut all, 1.0),
        wait_max_s: wait_max_us as f64 / 1e6,
        cold_share: cold as f64 / runs.max(1) as f64,
        utilisation: outcome.busy_work / seconds / cluster.capacity(),
        offered: workload.work(window.0, window.1) / cluster.capacity(),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list"
)]
fn quantile(values: &mut [f32], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let place = ((values.len() - 1) as f64 * share).round() as usize;
    f64::from(*values.select_nth_unstable_by(place, f32::total_cmp).1)
}
