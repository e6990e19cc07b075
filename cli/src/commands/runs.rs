//! What ran, and where: invocations and nodes.

use protocol::api::{Invocation, Node};
use protocol::node::VmLane;

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
            context.output.result(&run, || show(&run));
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
        ("lane", run.lane_reason.map_or_else(|| run.lane.to_string(), |reason| format!("{} ({reason})", run.lane))),
        ("node", run.node.map_or_else(|| "-".to_owned(), |node| node.to_string())),
        ("settled", if run.settled { "yes" } else { "not yet" }.to_owned()),
    ];
    if let Some(code) = run.code {
        rows.push(("code", format!("{code}: {}", code.title())));
        rows.push(("help", code.help().to_owned()));
    }
    fields(&rows)
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
