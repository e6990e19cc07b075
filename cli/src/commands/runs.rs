//! What ran, and where: invocations.

use protocol::api::{Invocation, InvocationPage};
use protocol::placement::{Considered, Explanation};
use protocol::words::count;

use super::accounts::lower;
use crate::args::{Invocations, List, RunFilter};
use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{fields, micros, table, time};

/// `invocations`
pub(crate) async fn invocations(context: &Context, verb: Option<Invocations>) -> Result<(), Failure> {
    let client = context.client()?;
    match verb.unwrap_or_else(|| Invocations::List { filter: RunFilter::default(), list: List::first() }) {
        Invocations::List { filter, list } => list_runs(context, &client, &filter, &list).await,
        Invocations::Show { run } => {
            let run: Invocation = client.get(&format!("/invocations/{}", segment(&run))).await?;
            context.output.result(&run, || show(&run))?;
            Ok(())
        }
    }
}

/// `invocations list`
async fn list_runs(context: &Context, client: &Client, filter: &RunFilter, list: &List) -> Result<(), Failure> {
    let page: InvocationPage = client.get(&super::paged(&path(filter), list)).await?;
    context.output.result(&page, || table_of(&page.items))?;
    match &page.next {
        // A page that searches looks at so many runs, and no more.
        Some(next) if page.items.is_empty() => context.output.note(format!("none so far; go on with --cursor {next}")),
        Some(next) => context.output.note(format!("more: --cursor {next}")),
        None if page.items.is_empty() && is_filtered(filter) => context.output.note("no run fits"),
        None if page.items.is_empty() => context.output.note("nothing there yet"),
        None => {}
    }
    if !page.damaged.is_empty() {
        let blocks: Vec<String> = page.damaged.iter().map(u64::to_string).collect();
        context
            .output
            .note(format!("runs are missing: of the history, these blocks are damaged: {}", blocks.join(", ")));
    }
    if let Some(since) = page.since {
        context.output.note(format!("kept since {}", time(since)));
    }
    Ok(())
}

/// Whether only some runs are asked for.
fn is_filtered(filter: &RunFilter) -> bool {
    path(filter) != path(&RunFilter::default())
}

/// What is asked for.
fn path(filter: &RunFilter) -> String {
    let RunFilter { function, outcome, status, flagged, selection } = filter;
    let mut query = Vec::new();
    query.extend(function.clone().map(|name| ("function", name)));
    query.extend((!outcome.is_empty()).then(|| ("outcome", outcome.join(","))));
    query.extend(status.map(|status| ("status", status.to_string())));
    query.extend(flagged.then(|| ("flagged", "true".to_owned())));
    query.extend(selection.query());
    super::queried("/invocations", &query)
}

fn table_of(runs: &[Invocation]) -> String {
    let rows = runs.iter().map(|run| {
        [
            run.run.to_string(),
            format!("{}@v{}", run.function, run.version),
            run.lane.to_string(),
            format!("{} {}", run.method, run.path.chars().take(40).collect::<String>()),
            run.status.to_string(),
            run.code.map_or_else(|| lower(&run.outcome), |code| code.to_string()),
            run.flag.map_or_else(|| "-".to_owned(), |flag| flag.to_string()),
            micros(run.wall_us),
            cpu(run),
            memory(run),
            time(run.received),
        ]
    });
    table(
        ["run", "function", "lane", "request", "status", "outcome", "flag", "wall", "cpu", "memory", "received"],
        rows,
    )
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
    rows.extend(run.flag.map(|flag| ("flag", format!("{flag}: {}", flag.meaning()))));
    rows.extend(run.source.map(|source| ("source", source.to_string())));
    rows.extend(run.principal.as_ref().map(|principal| ("principal", principal.to_string())));
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
    rows.extend(refused.map(|refused| ("refused", format!("{} {refused}", count(refused.nodes, "node")))));
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

#[cfg(test)]
mod tests {
    use protocol::NodeId;
    use protocol::placement::{Refusal, RefusedNodes, Warmth};

    use super::*;
    use crate::args::{Period, Selection};

    #[test]
    fn a_filter_is_a_query() {
        assert_eq!(path(&RunFilter::default()), "/invocations");
        let filter = RunFilter {
            function: Some("hello".to_owned()),
            outcome: vec!["failed".to_owned(), "trap".to_owned()],
            status: "5xx".parse().ok(),
            flagged: true,
            selection: Selection {
                version: Some(3),
                lane: Some(protocol::Lane::Vm),
                source: vec![protocol::RunSource::Schedule, protocol::RunSource::Queue],
                principal: Some("trigger:nightly".to_owned()),
                member: Some("ada@example.org".to_owned()),
                period: Period { from: Some(protocol::Timestamp(0)), to: None },
            },
        };
        let wanted = "/invocations?function=hello&outcome=failed%2Ctrap&status=5xx&flagged=true&version=3&lane=vm\
             &source=schedule%2Cqueue&principal=trigger%3Anightly&member=ada%40example%2Eorg&from=";
        assert_eq!(path(&filter), format!("{wanted}{}", segment("1970-01-01T00:00:00Z")));
        assert!(is_filtered(&filter) && !is_filtered(&RunFilter::default()));
    }

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
                RefusedNodes { why: Refusal::NoMemory, nodes: 1, agreed: None },
                RefusedNodes { why: Refusal::New, nodes: 3, agreed: Some(7) },
            ],
            waited_ms: 0,
        });
        let first = format!("{node}: warm, 2 running, predicted {}, fails 0.4 %", micros(20_000));
        let wanted = [
            ("placed by", "learned".to_owned()),
            ("candidate", first),
            ("candidate", format!("{node}: cached, 2 running")),
            ("refused", "1 node without free memory".to_owned()),
            ("refused", "3 nodes new: at most 7 of 20 checks agreed".to_owned()),
        ];
        assert_eq!(told, wanted);
    }
}
