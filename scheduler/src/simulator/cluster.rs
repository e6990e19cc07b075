//! Nodes as lenders have them: unequal in speed, cores and memory, and now and then gone.

use protocol::{Lane, NodeId};
use rand::Rng as _;
use rand::rngs::SmallRng;
use uuid::Uuid;

/// Microseconds, by lane.
#[derive(Debug, Clone, Copy)]
pub struct LaneCosts {
    /// In the wasm lane.
    pub wasm_us: u64,
    /// In the VM lane.
    pub vm_us: u64,
}

impl LaneCosts {
    pub(super) fn of(self, lane: Lane) -> u64 {
        match lane {
            Lane::Wasm => self.wasm_us,
            Lane::Vm => self.vm_us,
        }
    }
}

/// What a cluster is like.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// What a start takes on a node that has to load the artifact, on a core of speed 1.
    pub load: LaneCosts,
    /// What it takes more where the artifact has to be fetched, and compiled or converted.
    pub fetch: LaneCosts,
    /// What a loaded wasm artifact holds between runs, in MiB. A VM holds its whole memory.
    pub wasm_kept_mib: u64,
    /// The mean time between failures of a node, in seconds.
    pub fails_every_s: f64,
    /// The mean time that it is gone, in seconds.
    pub gone_s: f64,
}

impl Default for ClusterSpec {
    /// What a start costs as in this platform's own lanes: of the examples, 1 to 5 ms to load machine code, 130 to 300 ms
    /// to restore a VM under translation, 0.1 to 2 s to compile, 1 to 2 s to convert an image.
    fn default() -> Self {
        Self {
            load: LaneCosts { wasm_us: 5_000, vm_us: 300_000 },
            fetch: LaneCosts { wasm_us: 400_000, vm_us: 1_000_000 },
            wasm_kept_mib: 16,
            fails_every_s: 6.0 * 3600.0,
            gone_s: 60.0,
        }
    }
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Who.
    pub id: NodeId,
    /// Cores: runs at once.
    pub cores: u32,
    /// Work in a second of one core, 0.5 to 2.
    pub speed: f64,
    /// Memory, in MiB.
    pub memory_mib: u64,
}

/// All nodes.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// What they are like.
    pub spec: ClusterSpec,
}

/// Half the slowest and twice the usual: what lenders' machines differ by.
const SPEED: std::ops::RangeInclusive<f64> = 0.5..=2.0;
const CORES: [u32; 3] = [2, 4, 8];
const MIB_PER_CORE: [u64; 3] = [512, 1024, 2048];

impl Cluster {
    /// Nodes that together do `capacity` (cores of speed 1), as near as one node's speed allows.
    #[must_use]
    pub fn of_capacity(capacity: f64, spec: ClusterSpec, rng: &mut SmallRng) -> Self {
        let mut nodes: Vec<NodeSpec> = Vec::new();
        let mut left = capacity;
        while left > 0.0 || nodes.len() < 2 {
            let (cores, speed) = (CORES[rng.random_range(0..CORES.len())], rng.random_range(-1.0..=1.0_f64).exp2());
            let mut node = NodeSpec {
                id: NodeId::from_uuid(Uuid::from_u128(nodes.len() as u128 + 1)),
                cores,
                speed,
                memory_mib: u64::from(cores) * MIB_PER_CORE[rng.random_range(0..MIB_PER_CORE.len())],
            };
            // A function must fit.
            node.memory_mib = node.memory_mib.max(2048);
            left -= f64::from(cores) * speed;
            nodes.push(node);
        }
        let mut cluster = Self { nodes, spec };
        // The last node took it over the mark: all a little slower, within the range.
        let factor = capacity / cluster.capacity();
        for node in &mut cluster.nodes {
            node.speed = (node.speed * factor).clamp(*SPEED.start(), *SPEED.end());
        }
        cluster
    }

    /// What it does, in cores of speed 1.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.nodes.iter().map(|node| f64::from(node.cores) * node.speed).sum()
    }
}
