//! The comparison: every policy on the same workloads and clusters, over several seeds.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::cluster::{Cluster, ClusterSpec};
use super::engine::{Learning, run};
use super::generate::generate;
use super::report::{Report, Sample};
use super::score::score;
use super::trace::Trace;
use super::workload::Workload;
use crate::{
    BoundedHash, Learned, LeastLoaded, Policy, PowerOfTwo, Random, RoundRobin, ShortestMean, Tuning, WarmFirst,
};

/// Where the workload is from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A trace folder.
    Trace(Trace),
    /// The published statistics, for so many functions.
    Generated {
        /// How many.
        functions: usize,
    },
}

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Each draws its own arrivals, cluster and failures.
    pub seeds: Vec<u64>,
    /// Offered work over capacity.
    pub loads: Vec<f64>,
    /// Minutes to learn from. They are not scored.
    pub learn_minutes: u64,
    /// Minutes that are scored after them.
    pub score_minutes: u64,
    /// How many functions run in the VM lane.
    pub vm_share: f64,
    /// What clusters are like.
    pub cluster: ClusterSpec,
    /// What the learned policy weighs with.
    pub tuning: Tuning,
    /// Which policies: all where this is empty.
    pub only: Vec<String>,
    /// Seeds at once.
    pub threads: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seeds: (1..=5).collect(),
            loads: vec![0.76, 0.95],
            learn_minutes: 120,
            score_minutes: 120,
            vm_share: 0.5,
            cluster: ClusterSpec::default(),
            tuning: Tuning::default(),
            only: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

/// A policy that takes part: each simulation has a new one, which knows nothing.
pub type Entrant = fn(&Tuning) -> Box<dyn Policy>;

/// All of them, the simplest first.
pub const ENTRANTS: [Entrant; 8] = [
    |_| Box::new(Random),
    |_| Box::new(RoundRobin::default()),
    |_| Box::new(LeastLoaded),
    |_| Box::new(PowerOfTwo),
    |_| Box::new(BoundedHash),
    |_| Box::new(WarmFirst),
    |_| Box::new(ShortestMean::default()),
    |tuning| Box::new(Learned::new(tuning.clone())),
];

impl Plan {
    fn length(&self) -> Duration {
        Duration::from_secs((self.learn_minutes + self.score_minutes) * 60)
    }

    fn workload(&self, source: &Source, seed: u64) -> Workload {
        match source {
            Source::Trace(trace) => trace.workload(seed, self.vm_share).first(self.length()),
            Source::Generated { functions } => generate(*functions, self.length(), self.vm_share, seed),
        }
    }
}

/// Runs every simulation of the plan; `said` is called with each result as it comes.
#[must_use]
pub fn compare(plan: &Plan, source: &Source, said: &(dyn Fn(&Sample) + Sync)) -> Report {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut samples = Vec::new();
        while let Some(seed) = plan.seeds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            samples.extend(of_seed(plan, source, *seed, said));
        }
        samples
    };
    let mut samples = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads.clamp(1, plan.seeds.len().max(1))).map(|_| scope.spawn(work)).collect();
        // A thread that panicked has no samples; the report says how many seeds there are.
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect::<Vec<Sample>>()
    });
    samples.sort_by_key(|sample| sample.seed);
    let name = match source {
        Source::Trace(trace) => format!("trace {}", trace.name()),
        Source::Generated { functions } => format!("{functions} generated functions"),
    };
    Report::new(name, plan, samples)
}

fn of_seed(plan: &Plan, source: &Source, seed: u64, said: &(dyn Fn(&Sample) + Sync)) -> Vec<Sample> {
    let workload = plan.workload(source, seed);
    let learned = Duration::from_secs(plan.learn_minutes * 60);
    let window = (learned, plan.length());
    let mut samples = Vec::new();
    for &load in &plan.loads {
        let capacity = workload.work(window.0, window.1) / load;
        let cluster = Cluster::of_capacity(capacity, plan.cluster.clone(), &mut SmallRng::seed_from_u64(seed));
        for entrant in ENTRANTS {
            let mut policy = entrant(&plan.tuning);
            if !plan.only.is_empty() && !plan.only.iter().any(|name| name == policy.name()) {
                continue;
            }
            let learning = policy.learns().then_some(Learning { at: learned });
            let outcome = run(&workload, &cluster, policy.as_mut(), learning, window, seed);
            let sample = Sample {
                policy: policy.name().to_owned(),
                load,
                seed,
                nodes: cluster.nodes.len(),
                score: score(&workload, &cluster, &outcome, window),
                model_error: outcome.snapshot.as_ref().map(|snapshot| snapshot.error),
                history_error: outcome.snapshot.as_ref().map(|snapshot| snapshot.error_history),
            };
            said(&sample);
            samples.push(sample);
        }
    }
    samples
}
