//! The event loop: arrivals, starts, ends, failures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use protocol::ByteSize;
use protocol::placement::Warmth;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::Exp1;

use super::cluster::Cluster;
use super::node::{SimNode, Turned};
use super::seen::{request, view};
use super::workload::{FunctionSpec, Workload};
use crate::queue::{Waiting, WaitingRoom};
use crate::{Binding, Finished, NodeView, Policy, RunRequest, Snapshot};

/// Held runs are looked at again after so long, where nothing else happens.
const LOOK_AGAIN_US: u64 = 20_000;

/// How a policy learns while it works, as the control plane would have it.
#[derive(Debug, Clone, Copy)]
pub struct Learning {
    /// When a model is trained, from what ended before.
    pub at: Duration,
}

/// A run that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// Which arrival, by its place.
    pub run: u32,
    /// When it ended, in microseconds from the start.
    pub at_us: u64,
    /// When it was started the last time.
    pub started_us: u64,
    /// What it found where it started.
    pub warmth: Warmth,
    /// How often it was started: more than once where nodes failed.
    pub starts: u32,
    /// Where, by its place.
    pub node: u32,
}

/// All of a simulation.
#[derive(Debug)]
pub struct Outcome {
    /// Each arrival, once, in the order of ends.
    pub ended: Vec<Ended>,
    /// The model, where one was trained.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Core-seconds that runs held cores, between `scored.0` and `scored.1` of the call, times speed.
    pub busy_work: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    End { node: u32, life: u32, run: u32 },
    Fail { node: u32 },
    Recover { node: u32 },
    Look,
}

/// Replays the workload on the cluster under the policy, until every run has ended. `window`: the part that
/// `busy_work` counts.
pub fn run(
    workload: &Workload,
    cluster: &Cluster,
    policy: &mut dyn Policy,
    learning: Option<Learning>,
    window: (Duration, Duration),
    seed: u64,
) -> Outcome {
    let mut world = World::new(workload, cluster, policy, window, seed);
    let mut learn_us = learning.map(|learning| micros(learning.at));
    world.learns = learn_us.is_some();
    let mut arrivals = (0_u32..).zip(&workload.arrivals).peekable();
    loop {
        let next_event = world.events.peek().map(|Reverse((at, ..))| *at);
        let next_arrival = arrivals.peek().map(|(_, arrival)| arrival.at_us);
        let now_us = match (next_event, next_arrival) {
            (None, None) => break,
            // Failures go on for ever; the simulation does not.
            (_, None) if world.ended.len() == workload.arrivals.len() => break,
            (Some(event), Some(arrival)) => event.min(arrival),
            (Some(only), None) | (None, Some(only)) => only,
        };
        if learn_us.is_some_and(|at| at <= now_us) {
            learn_us = None;
            world.learn();
        }
        world.now_us = now_us;
        world.policy.pass(Duration::from_micros(now_us));
        if next_arrival == Some(now_us) {
            if let Some((run, _)) = arrivals.next() {
                world.place(run);
            }
        } else if let Some(Reverse((_, _, event))) = world.events.pop() {
            world.happen(event);
        }
        world.dispatch();
    }
    Outcome { ended: world.ended, snapshot: world.snapshot, busy_work: world.busy_work }
}

struct World<'a> {
    workload: &'a Workload,
    cluster: &'a Cluster,
    policy: &'a mut dyn Policy,
    late: bool,
    views: Vec<NodeView>,
    nodes: Vec<SimNode>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    waiting: WaitingRoom<u32>,
    looking: bool,
    requests: Vec<RunRequest>,
    runs: Vec<RunState>,
    ended: Vec<Ended>,
    seen: Vec<Finished>,
    learns: bool,
    snapshot: Option<Arc<Snapshot>>,
    window_us: (u64, u64),
    busy_work: f64,
    now_us: u64,
    rng: SmallRng,
    failures: SmallRng,
}

#[derive(Debug, Clone, Copy)]
struct RunState {
    started_us: u64,
    starts: u32,
    warmth: Warmth,
}

impl<'a> World<'a> {
    fn new(
        workload: &'a Workload,
        cluster: &'a Cluster,
        policy: &'a mut dyn Policy,
        window: (Duration, Duration),
        seed: u64,
    ) -> Self {
        let late = policy.binding() == Binding::Late;
        let nodes: Vec<SimNode> = cluster.nodes.iter().map(SimNode::new).collect();
        let mut world = Self {
            late,
            views: cluster.nodes.iter().map(|node| view(node, late)).collect(),
            nodes,
            events: BinaryHeap::new(),
            sequence: 0,
            waiting: WaitingRoom::new(usize::MAX),
            looking: false,
            requests: workload.functions.iter().map(request).collect(),
            runs: vec![RunState { started_us: 0, starts: 0, warmth: Warmth::Cold }; workload.arrivals.len()],
            ended: Vec::with_capacity(workload.arrivals.len()),
            seen: Vec::new(),
            learns: false,
            snapshot: None,
            window_us: (micros(window.0), micros(window.1)),
            busy_work: 0.0,
            now_us: 0,
            rng: SmallRng::seed_from_u64(seed),
            failures: SmallRng::seed_from_u64(seed ^ 0x000f_a115),
            workload,
            cluster,
            policy,
        };
        for node in 0..world.nodes.len() {
            world.plan_failure(index(node));
        }
        // A deployment prepares its version on one node.
        for (place, function) in (0..).zip(&workload.functions) {
            let node = place as usize % world.nodes.len();
            world.nodes[node].prepare(place);
            world.views[node].artifacts.insert(function.artifact, Warmth::Cached);
        }
        world
    }

    fn function(&self, run: u32) -> (u32, &'a FunctionSpec) {
        let function = self.workload.arrivals[run as usize].function;
        (function, &self.workload.functions[function as usize])
    }

    fn push(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_us, self.sequence, event)));
    }

    fn learn(&mut self) {
        self.learns = false;
        let seen = std::mem::take(&mut self.seen);
        if let Ok(snapshot) = Snapshot::train(&seen, Duration::from_micros(self.now_us)) {
            let snapshot = Arc::new(snapshot);
            self.policy.adopt(&snapshot);
            self.snapshot = Some(snapshot);
        }
    }

    /// A run arrives, or comes back from a node that failed.
    fn place(&mut self, run: u32) {
        let arrival = &self.workload.arrivals[run as usize];
        let mut request = self.requests[arrival.function as usize].clone();
        request.input = ByteSize(arrival.input);
        let since = Duration::from_micros(arrival.at_us);
        if !self.late {
            request.waited = Duration::from_micros(self.now_us).saturating_sub(since);
            let placement = self.policy.rank(&request, &self.views, &mut self.rng);
            if let Some(best) = placement.ranked.first() {
                let node = best.node.uuid().as_u128() as usize - 1;
                self.nodes[node].queue.push_back(run);
                self.views[node].running_known += 1;
                self.start_queued(node);
                return;
            }
        }
        // A room without bound gives nothing back.
        let _ = self.waiting.enter(self.policy, Waiting { request, since, owner: run });
    }

    /// Gives free cores to those who wait centrally.
    fn dispatch(&mut self) {
        while !self.waiting.is_empty() {
            let free = self.nodes.iter().any(|node| node.up && node.running.len() < node.cores as usize);
            let now = Duration::from_micros(self.now_us);
            let next =
                if free || !self.late { self.waiting.next(self.policy, &self.views, now, &mut self.rng) } else { None };
            let Some((waiting, placement)) = next else {
                if !self.looking {
                    self.looking = true;
                    self.push(self.now_us + LOOK_AGAIN_US, Event::Look);
                }
                return;
            };
            let node = placement.ranked[0].node.uuid().as_u128() as usize - 1;
            self.views[node].running_known += 1;
            if self.late {
                self.start(node, waiting.owner);
            } else {
                self.nodes[node].queue.push_back(waiting.owner);
                self.start_queued(node);
            }
        }
    }

    fn start_queued(&mut self, node: usize) {
        while let Some(&run) = self.nodes[node].queue.front() {
            if !self.nodes[node].up || !self.nodes[node].has_room(self.function(run).1) {
                return;
            }
            self.nodes[node].queue.pop_front();
            self.start(node, run);
        }
    }

    fn start(&mut self, node: usize, run: u32) {
        let (place, function) = self.function(run);
        let sim = &mut self.nodes[node];
        assert!(sim.up && sim.has_room(function), "a run was sent where there is no room");
        let (warmth, turned) = sim.start(run, place, function);
        let spec = &self.cluster.spec;
        let start_us = match warmth {
            Warmth::Warm => 0,
            Warmth::Cached => spec.load.of(function.lane),
            Warmth::Cold => spec.load.of(function.lane) + spec.fetch.of(function.lane),
        };
        let work_us = self.workload.arrivals[run as usize].run_us + start_us;
        let takes_us = whole(work_us as f64 / sim.speed).max(1);
        let life = sim.life;
        let state = &mut self.runs[run as usize];
        (state.started_us, state.warmth) = (self.now_us, warmth);
        state.starts += 1;
        self.views[node].artifacts.entry(function.artifact).or_insert(Warmth::Cached);
        self.turn_cold(node, &turned);
        self.push(self.now_us + takes_us, Event::End { node: index(node), life, run });
        self.refresh(node);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::End { node, life, run } if self.nodes[node as usize].life == life => self.end(node, run),
            Event::End { .. } => {}
            Event::Look => self.looking = false,
            Event::Fail { node } => {
                let was_running = self.nodes[node as usize].running.clone();
                let lost = self.nodes[node as usize].fail();
                for run in was_running {
                    self.learn_from(node, run, true);
                }
                self.views[node as usize].age = Duration::MAX;
                self.views[node as usize].artifacts.values_mut().for_each(|warmth| *warmth = Warmth::Cached);
                self.views[node as usize].running_known = 0;
                let gone = self.failures.sample::<f64, _>(Exp1) * self.cluster.spec.gone_s;
                self.push(self.now_us + whole(gone * 1e6), Event::Recover { node });
                for run in lost {
                    self.place(run);
                }
            }
            Event::Recover { node } => {
                self.nodes[node as usize].up = true;
                self.views[node as usize].age = Duration::ZERO;
                self.refresh(node as usize);
                self.plan_failure(node);
            }
        }
    }

    fn end(&mut self, node: u32, run: u32) {
        let (place, function) = self.function(run);
        let state = self.runs[run as usize];
        let sim = &mut self.nodes[node as usize];
        let (warm, turned) = sim.end(run, place, function, &self.cluster.spec, self.now_us);
        let (from, to) = self.window_us;
        let held_us = self.now_us.min(to).saturating_sub(state.started_us.max(from));
        self.busy_work += held_us as f64 / 1e6 * sim.speed;
        if warm {
            self.views[node as usize].artifacts.insert(function.artifact, Warmth::Warm);
        }
        self.turn_cold(node as usize, &turned);
        self.views[node as usize].running_known -= 1;
        self.refresh(node as usize);
        self.learn_from(node, run, false);
        let RunState { started_us, warmth, starts } = state;
        self.ended.push(Ended { run, at_us: self.now_us, started_us, warmth, starts, node });
        self.start_queued(node as usize);
    }

    /// What a policy and the trainer are told of a run.
    fn learn_from(&mut self, node: u32, run: u32, failed: bool) {
        let (_, function) = self.function(run);
        let state = self.runs[run as usize];
        let finished = Finished {
            version: function.version,
            input: ByteSize(self.workload.arrivals[run as usize].input),
            node: self.cluster.nodes[node as usize].id,
            lane: function.lane,
            warmth: state.warmth,
            wall: Duration::from_micros(self.now_us - state.started_us),
            failed,
        };
        self.policy.observe(&finished);
        if self.learns {
            self.seen.push(finished);
        }
    }

    fn turn_cold(&mut self, node: usize, turned: &Turned) {
        for place in &turned.cold {
            self.views[node].artifacts.insert(self.workload.functions[*place as usize].artifact, Warmth::Cached);
        }
    }

    /// What the node would say of itself. Where runs wait at nodes, those that wait hold no memory.
    fn refresh(&mut self, node: usize) {
        let sim = &self.nodes[node];
        let load = sim.running.len() as f32 / sim.cores as f32;
        if let Some(report) = &mut self.views[node].report {
            report.running = index(sim.running.len());
            report.load = load;
            if self.late {
                report.memory_free = ByteSize::mib(sim.free_mib());
            }
        }
    }

    fn plan_failure(&mut self, node: u32) {
        let after = self.failures.sample::<f64, _>(Exp1) * self.cluster.spec.fails_every_s;
        self.push(self.now_us + whole(after * 1e6), Event::Fail { node });
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive, and short of ages")]
fn whole(micros: f64) -> u64 {
    micros as u64
}

fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
