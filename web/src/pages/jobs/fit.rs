//! Which live nodes could take a job, before it is submitted: by lane, CPUs and memory, as the platform will look.

use std::collections::BTreeMap;

use protocol::api::{LiveVersion, Node};
use protocol::placement::{LaneReason, Refusal, lane_of};
use protocol::{ArtifactForm, ByteSize, Kind, Lane, LaneChoice, Limits};

use crate::format;

/// The nodes, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Could take it now.
    pub(crate) now: usize,
    /// Could take it, but are full.
    pub(crate) full: usize,
    /// Could not, and why.
    pub(crate) refused: BTreeMap<Refusal, usize>,
    /// The most CPUs and memory that one live node lends.
    pub(crate) most: Option<(u32, ByteSize)>,
}

/// The lane of a version's run with these limits.
pub(crate) fn lane(live: &LiveVersion, limits: &Limits) -> Lane {
    match live.lane_reason {
        LaneReason::Asked | LaneReason::Server | LaneReason::Image => live.lane,
        _ => lane_of(LaneChoice::Auto, Kind::Http, limits, ArtifactForm::Wasm).0,
    }
}

/// Sorts the nodes. What a version trusts and its architecture are not known here: the platform looks at them too.
pub(crate) fn fit(nodes: &[Node], lane: Lane, limits: &Limits) -> Fit {
    let mut fit = Fit::default();
    for node in nodes {
        if node.state.reports() {
            let (cpus, memory) = fit.most.unwrap_or_default();
            fit.most = Some((cpus.max(node.cores), memory.max(node.memory)));
        }
        match refusal(node, lane, limits) {
            None => fit.now += 1,
            Some(why) if why.passes() => fit.full += 1,
            Some(why) => *fit.refused.entry(why).or_default() += 1,
        }
    }
    fit
}

fn refusal(node: &Node, lane: Lane, limits: &Limits) -> Option<Refusal> {
    let cpus = if lane == Lane::Vm { limits.cpus } else { 1 };
    let memory = limits.memory_in(lane);
    if !node.state.reports() {
        Some(Refusal::Silent)
    } else if let Some(paused) = node.paused {
        Some(paused.reason.into())
    } else if !node.lanes.contains(&lane) {
        Some(Refusal::LaneMissing)
    } else if node.cores < cpus || node.memory < memory {
        Some(Refusal::TooSmall)
    } else if node.running >= node.slots {
        Some(Refusal::NoSlot)
    } else if node.memory_free < memory {
        Some(Refusal::NoMemory)
    } else {
        None
    }
}

impl Fit {
    /// `2 nodes could take it now, 1 is full.`
    pub(crate) fn words(&self) -> String {
        let full = match self.full {
            0 => String::new(),
            1 => "1 is full".to_owned(),
            full => format!("{full} are full"),
        };
        match (self.now, self.full) {
            (0, 0) => "No node could take it.".to_owned(),
            (0, _) => format!("No node has room now: {full}. It would wait."),
            (now, 0) => format!("{} could take it now.", format::count(now, "node")),
            (now, _) => format!("{} could take it now, {full}.", format::count(now, "node")),
        }
    }

    /// Why the others could not: `1 node without the lane`.
    pub(crate) fn others(&self) -> Vec<String> {
        self.refused.iter().map(|(why, count)| format!("{} {why}", format::count(*count, "node"))).collect()
    }

    /// The most that one live node lends: `up to 8 CPUs and 15.5 GiB`.
    pub(crate) fn most_words(&self) -> Option<String> {
        let (cpus, memory) = self.most?;
        Some(format!("up to {} and {}", format::count(cpus, "CPU"), format::bytes(memory.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::{fit, lane};
    use protocol::api::{LiveVersion, Node};
    use protocol::node::{NodeState, PauseReason, Paused};
    use protocol::placement::LaneReason;
    use protocol::{ByteSize, Lane, Limits, PlacementClass};

    fn node(cores: u32, lanes: &[Lane]) -> Node {
        Node {
            id: format!("node_{cores:032x}").parse().unwrap(),
            name: "local-1".to_owned(),
            state: NodeState::Online,
            state_reason: None,
            paused: None,
            class: PlacementClass::Operator,
            own: false,
            owner: None,
            level: None,
            arch: "x86_64".to_owned(),
            lanes: lanes.to_vec(),
            cores,
            memory: ByteSize::mib(4096),
            memory_free: ByteSize::mib(4096),
            load: 0.0,
            slots: 4,
            running: 0,
            last_seen: None,
            vm: None,
            confinement: None,
        }
    }

    #[test]
    fn nodes_are_sorted_by_what_they_could_do() {
        let both = [Lane::Wasm, Lane::Vm];
        let nodes = [
            node(2, &both),
            Node { running: 4, ..node(4, &both) },
            node(8, &[Lane::Wasm]),
            Node { state: NodeState::Offline, ..node(64, &both) },
            Node { state: NodeState::Draining, paused: Some(Paused::open(PauseReason::Draining)), ..node(16, &both) },
            node(1, &both),
        ];
        let limits = Limits { cpus: 2, memory: ByteSize::mib(512), ..Limits::default() };
        let fitting = fit(&nodes, Lane::Vm, &limits);
        assert_eq!((fitting.now, fitting.full), (1, 1));
        assert_eq!(fitting.words(), "1 node could take it now, 1 is full.");
        let others = ["1 node silent", "1 node draining", "1 node without the lane", "1 node too small for the limits"];
        assert_eq!(fitting.others(), others);
        assert_eq!(fitting.most_words().as_deref(), Some("up to 16 CPUs and 4 GiB"), "only of nodes that are there");
        let large = Limits { memory: ByteSize::mib(8192), ..limits };
        assert_eq!(fit(&nodes, Lane::Vm, &large).words(), "No node could take it.");
        assert_eq!(fit(&nodes[1..2], Lane::Vm, &limits).words(), "No node has room now: 1 is full. It would wait.");
        assert_eq!(fit(&[], Lane::Vm, &limits).most_words(), None);
    }

    #[test]
    fn more_cpus_are_of_the_other_lane() {
        let live = |lane, lane_reason| LiveVersion { number: 1, lane, lane_reason, limits: Limits::default() };
        let two = Limits { cpus: 2, ..Limits::default() };
        assert_eq!(lane(&live(Lane::Wasm, LaneReason::Wasm), &Limits::default()), Lane::Wasm);
        assert_eq!(lane(&live(Lane::Wasm, LaneReason::Wasm), &two), Lane::Vm);
        assert_eq!(lane(&live(Lane::Wasm, LaneReason::Asked), &two), Lane::Wasm);
        assert_eq!(lane(&live(Lane::Vm, LaneReason::Image), &Limits::default()), Lane::Vm);
        assert_eq!(lane(&live(Lane::Vm, LaneReason::Cpus), &Limits::default()), Lane::Wasm);
    }
}
