//! One node, and what its owner wants of it from afar.

use protocol::api::NodeDetails;
use protocol::node::{Caps, CapsWish, NodeStatus, NodeWish, PauseSource, WishedPause};
use protocol::{ByteSize, Timestamp};
use reqwest::Method;

use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{time, today};

/// `nodes pause`, `drain` and, without a pause, `resume`.
pub(super) async fn pause(
    context: &Context,
    client: &Client,
    detail: &NodeDetails,
    pause: Option<WishedPause>,
) -> Result<(), Failure> {
    let caps = detail.wish.map_or_else(CapsWish::default, |wish| wish.caps);
    let path = format!("/nodes/{}/wish", detail.node.id);
    let mut request = client.api(Method::PUT, &path)?;
    // The caps that are sent along are those that were read a moment ago.
    if let Some(etag) = &detail.etag {
        request = request.header("if-match", etag);
    }
    let now: NodeDetails = client.read(request.json(&NodeWish { caps, pause })).await?;
    context.output.result(&now, || format!("{}: {}", now.node.name, held(now.now.as_ref())))?;
    if now.now.is_none() {
        context.output.note("the machine is not connected, and hears it when it is back");
    }
    let on_machine = |status: &NodeStatus| status.paused.iter().any(|held| held.by.is_some_and(is_on_machine));
    if pause.is_none() && now.now.as_ref().is_some_and(on_machine) {
        context.output.note("it was paused on the machine, and is resumed there: crowdcloud lend resume");
    }
    Ok(())
}

fn is_on_machine(by: PauseSource) -> bool {
    matches!(by, PauseSource::Cli | PauseSource::Signal)
}

fn held(now: Option<&NodeStatus>) -> String {
    match now {
        None => "not connected".to_owned(),
        Some(status) if status.paused.is_empty() => "takes runs".to_owned(),
        Some(status) => {
            let reason = |held: &protocol::node::HeldPause| match held.until {
                Some(until) => format!("{} until {}", held.reason, time(until)),
                None => held.reason.to_string(),
            };
            status.paused.iter().map(reason).collect::<Vec<_>>().join("; ")
        }
    }
}

/// Caps with their use, quiet hours, and what it did today.
pub(super) fn rows(status: &NodeStatus, agreed: Option<&Caps>) -> Vec<(&'static str, String)> {
    let mut rows = caps(status, agreed).to_vec();
    rows.extend(status.quiet_hours.iter().map(|hours| ("quiet hours", hours.clone())));
    rows.push(("today", today(&status.today)));
    rows
}

/// Each cap with its use, and what was agreed where that is more.
fn caps(status: &NodeStatus, agreed: Option<&Caps>) -> [(&'static str, String); 5] {
    let caps = &status.caps;
    let of = |used: ByteSize, cap: ByteSize, agreed: Option<ByteSize>| match agreed.filter(|agreed| *agreed != cap) {
        Some(agreed) => format!("{used} of {cap}; {agreed} was agreed"),
        None => format!("{used} of {cap}"),
    };
    let cores = match agreed.map(|agreed| agreed.cores).filter(|agreed| *agreed != caps.cores) {
        Some(agreed) => format!("{}; {agreed} were agreed", caps.cores),
        None => caps.cores.to_string(),
    };
    let traffic = match caps.traffic {
        Some(cap) => of(status.traffic_used, cap, agreed.and_then(|agreed| agreed.traffic)),
        None => format!("{}, without a cap", status.traffic_used),
    };
    [
        ("cores", cores),
        ("memory", of(status.memory_used, caps.memory, agreed.map(|agreed| agreed.memory))),
        ("disk", of(status.disk_used, caps.disk, agreed.map(|agreed| agreed.disk))),
        ("traffic", traffic),
        ("egress", if caps.egress { "lent" } else { "not lent" }.to_owned()),
    ]
}

/// From now on, for so long.
pub(super) fn lasting(lasts: Option<protocol::Millis>, drain: bool) -> WishedPause {
    let until = lasts.map(|lasts| Timestamp::now().plus(lasts.duration()));
    WishedPause { until, since: None, drain }
}
