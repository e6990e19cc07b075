//! What ran, and where: invocations and nodes.

use protocol::api::{Invocation, Node};
use protocol::node::VmLane;
use protocol::placement::{Considered, Explanation};
use protocol::words::count;

use super::accounts::lower;
use crate::args::{Invocations, List, Nodes};
use crate::client::segment;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{fields, micros, table, time};

/// `invocations`
pub(crate) async fn invocations(context: &Context, verb: Option<Invocations>) -> Result<(), Failure> {
    let client = context.client()?;
    match verb.unwrap_or_else(|| Invocations::List { function: None, list: List::first() }) {
        Invocations::List { function, list } => {
            let path = match function {
                Some(function) => format!("/invocations?function={}", segment(&function)),
                None => "/invocations".to_owned(),
            };
            super::show_page::<Invocation>(context, &client, &path, &list, |runs| {
                let rows = runs.iter().map(|run| {
                    [
                        run.run.to_string(),
                        format!("{}@v{}", run.function, run.version),
                        run.lane.to_string(),
                        format!("{} {}", run.method, run.path.chars().take(40).collect::<String>()),
                        run.status.to_string(),
                        run.code.map_or_else(|| lower(&run.outcome), |code| code.to_string()),
                        micros(run.wall_us),
                        cpu(run),
                        memory(run),
                        time(run.received),
                    ]
                });
                table(
                    ["run", "function", "lane", "request", "status", "outcome", "wall", "cpu", "memory", "received"],
                    rows,
                )
            })
            .await
        }
        Invocations::Show { run } => {
            let run: Invocation = client.get(&format!("/invocations/{}", segment(&run))).await?;
            context.output.result(&run, || show(&run))?;
            Ok(())
        }
    }
}

fn show(run: &Invocation) -> String {
    let mut rows = vec![
        ("run", run.run.to_string()),
        ("function", format!("{}@v{}", run.function, run.version)),
        ("request", format!("{} {}", run.method, run.path)),
        ("received", time(run.received)),
        ("status", run.status.to_string()),
        ("outcome", lower(&run.outcome)),
        ("wall", micros(run.wall_us)),
        ("cpu", cpu(run)),
        ("memory", memory(run)),
        ("bytes in", run.usage.bytes_in.to_string()),
        ("bytes out", run.usage.bytes_out.to_string()),
        ("egress", egress(run)),
        ("lane", run.lane_reason.map_or_else(|| run.lane.to_string(), |reason| format!("{} ({reason})", run.lane))),
        ("node", run.node.map_or_else(|| "-".to_owned(), |node| node.to_string())),
        ("settled", if run.settled { "yes" } else { "not yet" }.to_owned()),
    ];
    rows.extend(run.job.map(|job| ("job", job.to_string())));
    if let Some(placement) = &run.placement {
        rows.extend(why(placement));
    }
    if let Some(code) = run.code {
        rows.push(("code", format!("{code}: {}", code.title())));
        rows.push(("help", code.help().to_owned()));
    }
    fields(&rows)
}

/// Why it went where it went: the policy, the candidates with their predicted times, and why others were refused.
fn why(placement: &Explanation) -> Vec<(&'static str, String)> {
    let mut rows = vec![("placed by", placement.policy.to_string())];
    if placement.waited_ms > 0 {
        rows.push(("waited", micros(u64::from(placement.waited_ms) * 1000)));
    }
    let candidate = |considered: &Considered| {
        let Considered { node, warmth, running, .. } = considered;
        ("candidate", format!("{node}: {warmth}, {running} running{}", predicted(considered)))
    };
    rows.extend(placement.candidates.iter().map(candidate));
    let refused = placement.refused.iter();
    rows.extend(refused.map(|refused| ("refused", format!("{} {}", count(refused.nodes, "node"), refused.why))));
    rows
}

/// What was predicted of a run on a node: `, predicted 20.0ms, fails 0.4 %`; nothing where nothing was.
pub(super) fn predicted(considered: &Considered) -> String {
    let takes = considered.predicted_us.map(|predicted| format!(", predicted {}", micros(predicted)));
    let fails = considered.predicted_failure_permille.filter(|fails| *fails > 0);
    let fails = fails.map(|fails| format!(", fails {:.1} %", f64::from(fails) / 10.0));
    takes.into_iter().chain(fails).collect()
}

/// CPU time, and on how many CPUs at most.
fn cpu(run: &Invocation) -> String {
    let used = micros(run.usage.cpu_us);
    run.limits.map_or_else(|| used.clone(), |limits| format!("{used} on {}", limits.cpus))
}

/// The most memory that it held, of what it might.
fn memory(run: &Invocation) -> String {
    let used = run.usage.memory_peak;
    run.limits.map_or_else(|| used.to_string(), |limits| format!("{used}/{}", limits.memory))
}

/// What its own connections carried, of what they might.
fn egress(run: &Invocation) -> String {
    let used = run.usage.egress_bytes;
    run.limits.map_or_else(|| used.to_string(), |limits| format!("{used}/{}", limits.egress_bytes))
}

/// How a node's VM lane is: its accelerator and the measured speed of a guest.
fn vm(lane: Option<&VmLane>) -> String {
    match lane {
        None => "-".to_owned(),
        Some(VmLane::Starting) => "starting".to_owned(),
        Some(VmLane::Ready { accelerator, turns_per_ms }) => format!("{accelerator}, {turns_per_ms} turns/ms"),
        Some(VmLane::Missing { why }) => format!("no: {why}"),
    }
}

/// `nodes`
pub(crate) async fn nodes(context: &Context, verb: Option<Nodes>) -> Result<(), Failure> {
    let client = context.client()?;
    let Nodes::List(list) = verb.unwrap_or_else(|| Nodes::List(List::first()));
    super::show_page::<Node>(context, &client, "/nodes", &list, |nodes| {
        let rows = nodes.iter().map(|node| {
            [
                node.name.clone(),
                node.id.to_string(),
                match (node.online, node.draining) {
                    (false, _) => "offline",
                    (true, true) => "draining",
                    (true, false) => "online",
                }
                .to_owned(),
                lower(&node.class),
                node.arch.clone(),
                node.lanes.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                vm(node.vm.as_ref()),
                format!("{}/{}", node.running, node.slots),
                format!("{}/{}", node.memory_free, node.memory),
                format!("{:.0}%", node.load * 100.0),
            ]
        });
        table(["name", "id", "state", "class", "arch", "lanes", "vm", "runs", "memory free", "load"], rows)
    })
    .await
}

#[cfg(test)]
mod tests {
    use protocol::NodeId;
    use protocol::placement::{Refusal, RefusedNodes, Warmth};

    use super::*;

    #[test]
    fn a_placement_is_told() {
        let node = NodeId::new();
        let considered = |warmth, predicted_us, predicted_failure_permille| Considered {
            node,
            warmth,
            running: 2,
            predicted_us,
            predicted_failure_permille,
        };
        let told = why(&Explanation {
            policy: "learned".into(),
            candidates: vec![considered(Warmth::Warm, Some(20_000), Some(4)), considered(Warmth::Cached, None, None)],
            refused: vec![
                RefusedNodes { why: Refusal::NoMemory, nodes: 1 },
                RefusedNodes { why: Refusal::KeptForShorter, nodes: 3 },
            ],
            waited_ms: 0,
        });
        let first = format!("{node}: warm, 2 running, predicted {}, fails 0.4 %", micros(20_000));
        let wanted = [
            ("placed by", "learned".to_owned()),
            ("candidate", first),
            ("candidate", format!("{node}: cached, 2 running")),
            ("refused", "1 node without free memory".to_owned()),
            ("refused", "3 nodes kept free for shorter runs".to_owned()),
        ];
        assert_eq!(told, wanted);
    }
}
