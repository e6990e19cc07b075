//! A node of the simulator: cores, a queue of its own, instances that stay warm while memory lasts, and a disk that keeps
//! all it ever fetched.

use std::collections::{HashMap, HashSet, VecDeque};

use protocol::Lane;
use protocol::placement::Warmth;

use super::cluster::{ClusterSpec, NodeSpec};
use super::workload::FunctionSpec;

/// What runs on a node.
#[derive(Debug)]
pub(super) struct SimNode {
    pub(super) speed: f64,
    pub(super) cores: u32,
    pub(super) up: bool,
    /// Counts failures: what ended before one is not what runs after it.
    pub(super) life: u32,
    /// Runs on a core now.
    pub(super) running: Vec<u32>,
    /// Runs that wait here, where the policy binds early.
    pub(super) queue: VecDeque<u32>,
    memory_mib: u64,
    used_mib: u64,
    kept_mib: u64,
    kept: HashMap<u32, Kept>,
    disk: HashSet<u32>,
}

/// Warm instances of a function that idle.
#[derive(Debug, Clone, Copy)]
struct Kept {
    idle: u32,
    each_mib: u64,
    last_used_us: u64,
}

/// What warmth changed for the outside.
#[derive(Debug, Default)]
pub(super) struct Turned {
    pub(super) cold: Vec<u32>,
}

impl SimNode {
    pub(super) fn new(spec: &NodeSpec) -> Self {
        Self {
            speed: spec.speed,
            cores: spec.cores,
            up: true,
            life: 0,
            running: Vec::new(),
            queue: VecDeque::new(),
            memory_mib: spec.memory_mib,
            used_mib: 0,
            kept_mib: 0,
            kept: HashMap::new(),
            disk: HashSet::new(),
        }
    }

    /// Memory that no run holds: what idles gives way.
    pub(super) fn free_mib(&self) -> u64 {
        self.memory_mib - self.used_mib
    }

    pub(super) fn has_room(&self, function: &FunctionSpec) -> bool {
        self.running.len() < self.cores as usize && self.free_mib() >= function.memory_mib
    }

    /// Fetches a function before anybody calls it.
    pub(super) fn prepare(&mut self, place: u32) {
        self.disk.insert(place);
    }

    /// Takes a run; says what it finds, and which functions idle here no more.
    pub(super) fn start(&mut self, run: u32, place: u32, function: &FunctionSpec) -> (Warmth, Turned) {
        let fetched = self.disk.insert(place);
        let warmth = match self.kept.contains_key(&place) {
            true => Warmth::Warm,
            false if fetched => Warmth::Cold,
            false => Warmth::Cached,
        };
        let mut turned = Turned::default();
        if warmth == Warmth::Warm && function.lane == Lane::Vm {
            self.take_idle(place, &mut turned);
        }
        self.used_mib += function.memory_mib;
        self.make_room(&mut turned);
        self.running.push(run);
        (warmth, turned)
    }

    /// A run ended: its instance idles. Says whether the function is warm now.
    pub(super) fn end(
        &mut self,
        run: u32,
        place: u32,
        function: &FunctionSpec,
        spec: &ClusterSpec,
        now_us: u64,
    ) -> (bool, Turned) {
        self.running.retain(|other| *other != run);
        self.used_mib -= function.memory_mib;
        let each_mib = match function.lane {
            Lane::Vm => function.memory_mib,
            Lane::Wasm => spec.wasm_kept_mib,
        };
        let kept = self.kept.entry(place).or_insert(Kept { idle: 0, each_mib, last_used_us: now_us });
        kept.last_used_us = now_us;
        if kept.idle == 0 || function.lane == Lane::Vm {
            kept.idle += 1;
            self.kept_mib += each_mib;
        }
        let mut turned = Turned::default();
        self.make_room(&mut turned);
        (self.kept.contains_key(&place), turned)
    }

    /// All but the disk is lost; what ran and waited here is given back.
    pub(super) fn fail(&mut self) -> Vec<u32> {
        self.up = false;
        self.life += 1;
        (self.used_mib, self.kept_mib) = (0, 0);
        self.kept.clear();
        self.running.drain(..).chain(self.queue.drain(..)).collect()
    }

    /// Lets go of what idled longest until all fits.
    fn make_room(&mut self, turned: &mut Turned) {
        while self.used_mib + self.kept_mib > self.memory_mib {
            let oldest = self.kept.iter().min_by_key(|(place, kept)| (kept.last_used_us, **place));
            let Some(place) = oldest.map(|(place, _)| *place) else { break };
            self.take_idle(place, turned);
        }
    }

    fn take_idle(&mut self, place: u32, turned: &mut Turned) {
        let Some(kept) = self.kept.get_mut(&place) else { return };
        kept.idle -= 1;
        self.kept_mib -= kept.each_mib;
        if kept.idle == 0 {
            self.kept.remove(&place);
            turned.cold.push(place);
        }
    }
}
