//! Whether any node could run a version at all: what none ever could is refused at the deploy, with the maximum.

use std::time::{Duration, Instant};

use protocol::api::CreateVersion;
use protocol::node::{NodeReport, VmLane};
use protocol::placement::{NO_OWN_NODE, lane_of, summary};
use protocol::words::count;
use protocol::{AccountId, ByteSize, Code, Kind, Lane, Limits, PlacementClass, Problem};

use super::fields;
use crate::App;
use crate::error::Result;
use crate::nodes::{Known, Wanted};

/// A node that has just been started looks first which accelerator works.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// So many nodes say why.
const REASONS_MAX: usize = 5;

/// Refuses what no live node could run. Where no node is live, or one that may have it is only being restarted, the version
/// waits for it.
pub(crate) async fn check(app: &App, account: AccountId, asked: &CreateVersion) -> Result<()> {
    let form = fields::form_asked(asked.base, &asked.command);
    let lane = lane_of(asked.lane, asked.kind.unwrap_or(Kind::Http), &asked.limits, form).0;
    let wanted = Wanted { account, placement: asked.placement, lane, limits: asked.limits };
    let distrusted = app.nodes.distrusted(app, &wanted).await?;
    if !distrusted.is_empty() {
        let away = match asked.placement {
            PlacementClass::Own => app.nodes.own_away(app, account).await?.unwrap_or_default(),
            PlacementClass::Operator | PlacementClass::Verified | PlacementClass::Any => Vec::new(),
        };
        let away = match away.as_slice() {
            [] => String::new(),
            some => format!("; {NO_OWN_NODE} ({})", some.join("; ")),
        };
        let detail = format!(
            "No node may have it with `placement = \"{}\"`: {}{away}.",
            asked.placement.as_str(),
            summary(&distrusted)
        );
        return Err(Problem::of(Code::NoNode, "placement", detail).into());
    }
    Ok(find(app, &wanted).await??)
}

/// A live node that could, or why there is none.
pub(crate) async fn find(app: &App, wanted: &Wanted) -> Result<Result<(), Problem>> {
    let until = Instant::now() + STARTS_WITHIN;
    loop {
        let nodes = app.nodes.trusted(app, wanted).await?;
        let looking = nodes.iter().any(|node| node.report.vm == Some(VmLane::Starting));
        if !(looking && wanted.lane == Lane::Vm) || Instant::now() >= until {
            return Ok(judge(wanted, &nodes));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn judge(wanted: &Wanted, nodes: &[Known]) -> Result<(), Problem> {
    if nodes.is_empty() || nodes.iter().any(|node| wanted.fits(&node.report)) {
        return Ok(());
    }
    let able: Vec<&NodeReport> =
        nodes.iter().map(|node| &node.report).filter(|report| report.lanes.contains(&wanted.lane)).collect();
    if able.is_empty() {
        let detail = format!("No node has the {} lane ({}).", wanted.lane, reasons(nodes));
        return Err(Problem::of(Code::NoNode, "lane", detail));
    }
    let memory = able.iter().map(|report| largest(report.memory_total, wanted.lane)).max().unwrap_or(ByteSize(0));
    let cores = able.iter().map(|report| report.cores).max().unwrap_or(0);
    let Limits { memory: asked, cpus, .. } = wanted.limits;
    let field = if asked > memory { "limits.memory" } else { "limits.cpus" };
    let detail = match wanted.lane {
        Lane::Wasm => format!("{asked} of memory; the largest node lends {memory} to one run."),
        Lane::Vm => {
            let (cpus, cores) = (count(cpus, "CPU"), count(cores, "CPU"));
            format!("{cpus} and {asked} of memory; at most {cores}, and {memory} beside a VM's own.")
        }
    };
    Err(Problem::of(Code::ExceedsNodes, field, detail))
}

/// Why the nodes lack a lane. Nodes of other lenders are nobody's to see: they are counted.
fn reasons(nodes: &[Known]) -> String {
    let reason = |node: &Known| {
        let why = match &node.report.vm {
            Some(VmLane::Missing { why }) => why,
            _ => "not offered",
        };
        Some(format!("{}: {why}", node.name.as_ref()?))
    };
    let mut told: Vec<String> = nodes.iter().filter_map(reason).take(REASONS_MAX).collect();
    match nodes.len() - told.len() {
        0 => {}
        others if told.is_empty() => told.push(format!("{others} asked")),
        others => told.push(format!("{others} more")),
    }
    told.join("; ")
}

/// The largest limit of memory that a node of this size can hold.
fn largest(total: ByteSize, lane: Lane) -> ByteSize {
    let fits = |mib: u64| Limits { memory: ByteSize::mib(mib), ..Limits::default() }.memory_in(lane) <= total;
    let most = (total.0 >> 20).min(Limits::MAX.memory.0 >> 20);
    ByteSize::mib((1..=most).rev().find(|mib| fits(*mib)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use protocol::NodeId;

    use super::*;

    fn node(cores: u32, memory: u64, vm: VmLane) -> Known {
        let has = matches!(vm, VmLane::Ready { .. });
        let report = NodeReport {
            v: 1,
            node: NodeId::new(),
            sequence: 1,
            cores,
            load: 0.0,
            memory_total: ByteSize::mib(memory),
            memory_free: ByteSize::mib(memory),
            slots: 4,
            running: 0,
            lanes: if has { vec![Lane::Wasm, Lane::Vm] } else { vec![Lane::Wasm] },
            arch: "x86_64".to_owned(),
            warm: vec![],
            cached: vec![],
            draining: false,
            vm: Some(vm),
            boot: None,
            lending: None,
            confinement: None,
            lists: None,
        };
        Known { name: Some("n".to_owned()), report }
    }

    fn wanted(cpus: u32, memory: u64) -> Wanted {
        let limits = Limits { cpus, memory: ByteSize::mib(memory), ..Limits::default() };
        Wanted { account: AccountId::new(), placement: PlacementClass::Any, lane: Lane::Vm, limits }
    }

    #[test]
    fn what_no_node_can_is_refused_with_the_reason_or_the_maximum() {
        let ready = VmLane::Ready { accelerator: protocol::node::Accelerator::Tcg, turns_per_ms: 9 };
        let missing = VmLane::Missing { why: "no QEMU".to_owned() };
        let refused = |wanted, nodes: &[_]| judge(&wanted, nodes).unwrap_err();
        assert_eq!(judge(&wanted(1, 128), &[]), Ok(()), "nobody is there: wait");
        let lane = refused(wanted(1, 128), &[node(2, 1024, missing.clone())]);
        assert_eq!(lane.code, Code::NoNode);
        assert!(lane.detail.contains("no QEMU"), "{lane}");
        let nodes = [node(8, 9999, missing), node(2, 1024, ready)];
        assert_eq!(judge(&wanted(2, 928), &nodes), Ok(()));
        for (cpus, memory) in [(3, 128), (1, 929)] {
            let large = refused(wanted(cpus, memory), &nodes);
            assert_eq!(large.code, Code::ExceedsNodes);
            assert!(large.detail.contains("at most 2 CPUs, and 928MiB"), "{large}");
            let field = if cpus == 3 { "limits.cpus" } else { "limits.memory" };
            assert_eq!(large.field.unwrap().as_str(), field);
        }
    }

    #[test]
    fn f39_nodes_of_strangers_are_counted_and_not_named() {
        let missing = |why: &str| node(2, 1024, VmLane::Missing { why: why.to_owned() });
        let stranger = Known { name: None, ..missing("/home/bob has no QEMU") };
        let detail = |nodes: &[Known]| judge(&wanted(1, 128), nodes).unwrap_err().detail;
        let both = detail(&[stranger.clone(), missing("no KVM"), stranger.clone()]);
        assert_eq!(both, "No node has the vm lane (n: no KVM; 2 more).");
        assert_eq!(detail(&[stranger]), "No node has the vm lane (1 asked).");
        assert!(detail(&vec![missing("x"); 40]).ends_with("; 35 more)."), "few are told");
    }
}
