//! Jobs as text.

use protocol::job::{Job, JobWhy};
use protocol::placement::Considered;
use protocol::words::count;
use protocol::{Limits, NodeId};

use crate::commands::runs::predicted;
use crate::output::{fields, micros, table, time};
use crate::visible;

/// `jobs list`
pub(super) fn list(jobs: &[Job]) -> String {
    let rows = jobs.iter().map(|job| {
        [
            job.id.to_string(),
            format!("{}@v{}", job.function, job.version),
            job.state.to_string(),
            format!("{}/{}", job.limits.cpus, job.limits.memory),
            job.attempts.to_string(),
            job.usage.map_or_else(|| "-".to_owned(), |usage| micros(usage.wall_us)),
            job.usage.map_or_else(|| "-".to_owned(), |usage| micros(usage.cpu_us)),
            job.usage.map_or_else(|| "-".to_owned(), |usage| usage.memory_peak.to_string()),
            time(job.created),
            job.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
        ]
    });
    table(["job", "function", "state", "cpus/memory", "tries", "wall", "cpu", "peak", "submitted", "labels"], rows)
}

/// `jobs show`
pub(super) fn one(job: &Job) -> String {
    let mut rows = vec![
        ("job", job.id.to_string()),
        ("function", format!("{}@v{}", job.function, job.version)),
        ("request", format!("{} {}", job.method, job.path)),
        ("state", if job.cancelling { format!("{}, cancelling", job.state) } else { job.state.to_string() }),
        ("reason", job.reason.clone()),
    ];
    let limits = Limits::from(job.limits);
    rows.extend(Limits::of_jobs().map(|limit| (limit.name, limit.of(&limits).to_string())));
    rows.extend([
        ("tries", format!("{} of {}", job.attempts, u64::from(job.retries) + 1)),
        ("input", job.input_size.to_string()),
        ("output", job.output_size.to_string()),
        ("submitted", time(job.created)),
    ]);
    let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    add("lost", (job.losses > 0).then(|| format!("{} by the platform", count(job.losses, "time"))));
    add("priority", (job.priority != 0).then(|| job.priority.to_string()));
    add("status", job.status.map(|status| status.to_string()));
    add("code", job.code.map(|code| format!("{code}: {}", code.title())));
    add("next try", job.due.map(time));
    add("started", job.started.map(time));
    add("ended", job.ended.map(time));
    add("run", job.run.map(|run| run.to_string()));
    add("node", job.node.map(|node| node.to_string()));
    if let Some(usage) = job.usage {
        add("wall", Some(micros(usage.wall_us)));
        add("cpu", Some(micros(usage.cpu_us)));
        add("peak", Some(usage.memory_peak.to_string()));
    }
    add(
        "webhook",
        job.webhook.as_ref().map(|webhook| {
            let state = match (&webhook.delivered, &webhook.error) {
                (Some(at), _) => format!("told at {}", time(*at)),
                (None, Some(error)) => format!("not told after {}: {error}", count(webhook.tries, "try")),
                (None, None) => "not told yet".to_owned(),
            };
            format!("{}, {state}", webhook.url)
        }),
    );
    for (name, value) in &job.labels {
        rows.push(("label", format!("{name}={value}")));
    }
    let mut text = fields(&rows);
    for step in &job.transitions {
        let node = step.node.map(|node| format!(" on {node}")).unwrap_or_default();
        text.push_str(&format!("\n{}  {:<9}{node}  {}", step.at, step.state.to_string(), visible::line(&step.reason)));
    }
    text
}

/// How far away a node is, where that is worth a word.
fn away(distance_s: Option<f32>) -> String {
    distance_s.map_or_else(String::new, |away| format!(", {:.0}ms away", away * 1000.0))
}

/// `jobs why`
pub(super) fn why(why: &JobWhy) -> String {
    let name =
        |node: NodeId| why.names.get(&node).map_or_else(|| node.to_string(), |name| visible::line(name).into_owned());
    let mut text = format!("{}: {}", why.state, visible::line(&why.reason));
    match why.ahead {
        None => {}
        Some(0) => text.push_str("\nNone of your jobs comes before it"),
        Some(1) => text.push_str("\nOne of your jobs comes before it"),
        Some(ahead) => text.push_str(&format!("\n{ahead} of your jobs come before it")),
    }
    let Some(placement) = &why.placement else { return text };
    for (place, one) in placement.ranked.iter().enumerate() {
        text.push_str(&format!(
            "\n{}. {}: {} lane ({}), {}, {}{}{}, score {:.2}",
            place + 1,
            name(one.node),
            one.lane,
            one.lane_reason,
            one.warmth,
            count(one.running, "run"),
            predicted(&Considered::from(one)),
            away(one.distance_s),
            one.score
        ));
    }
    for one in &placement.refused {
        text.push_str(&format!("\n-  {}: {one}", name(one.node)));
    }
    text
}
