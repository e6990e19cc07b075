//! What the learned policy weighs with.

use std::time::Duration;

/// What the policy weighs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Ageing: a run of a second may be overtaken by an instant one that comes within so many seconds after it, longer
    /// ones by the square root of their length more.
    pub patience: f64,
    /// Above this share of all runs, a run is a long one.
    pub long_share: f64,
    /// This share of all cores is kept free of long runs.
    pub reserve: f64,
    /// A long run is held back for at most this part of its length.
    pub hold: f64,
    /// Where all nodes that are warm for a run are full, it waits for one: so many times what a cold start takes,
    pub warm_wait: f64,
    /// at least this part of its length,
    pub warm_wait_least: f64,
    /// and at most this part of it, lest a short run wait for longer than it would be worth.
    pub warm_wait_most: f64,
    /// It waits so many times longer while no more than this share of cores is free:
    pub warm_wait_full: f64,
    /// see `warm_wait_full`.
    pub full: f64,
    /// What a cold start costs others, as a slowdown: it pushes out what is warm.
    pub cold: f32,
    /// What a long run costs on a fast core.
    pub price: f32,
    /// Candidates whose scores are within this part are near-equal.
    pub near_equal: f32,
    /// A model older than this is not used.
    pub age_max: Duration,
    /// Nor is one whose live error is so many times what it was in training, and `error_more`.
    pub error_times: f64,
    /// See `error_times`.
    pub error_more: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            patience: 600.0,
            long_share: 0.98,
            reserve: 0.15,
            hold: 1.0,
            warm_wait: 1.0,
            warm_wait_least: 0.1,
            warm_wait_most: 0.5,
            warm_wait_full: 4.0,
            full: 0.05,
            cold: 2.0,
            price: 0.5,
            near_equal: 0.1,
            age_max: Duration::from_hours(24),
            error_times: 2.0,
            error_more: 0.3,
        }
    }
}
