//! One node, and what its owner wants of it from afar.

use protocol::api::{Node, NodeDetails, NodeToken, Page};
use protocol::node::{Caps, CapsWish, NodeStatus, NodeWish, PauseSource, WishedPause};
use protocol::{ByteSize, NodeId, Timestamp, TokenId};
use reqwest::Method;

use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{time, today};

/// Nodes that are looked through for a name.
const NODES_MAX: u32 = 200;

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

/// The node of this id, or the only one of this name, in full.
pub(super) async fn find(client: &Client, node: &str) -> Result<NodeDetails, Failure> {
    let id = find_id(client, node).await?;
    client.get(&format!("/nodes/{}", segment(&id.to_string()))).await
}

/// The id, or that of the only node of this name.
pub(super) async fn find_id(client: &Client, node: &str) -> Result<NodeId, Failure> {
    match node.parse::<NodeId>() {
        Ok(id) => Ok(id),
        Err(_) => named(client, node).await,
    }
}

/// The token of this id, or the only one of this name.
pub(super) async fn find_token(client: &Client, token: &str) -> Result<TokenId, Failure> {
    if let Ok(id) = token.parse::<TokenId>() {
        return Ok(id);
    }
    let page: Page<NodeToken> = client.get(&format!("/nodes/tokens?limit={NODES_MAX}")).await?;
    let ids = page.items.iter().filter(|made| made.name.as_deref() == Some(token)).map(|made| made.id);
    only(ids, &format!("token is called {token}"), "crowdcloud nodes tokens list")
}

async fn named(client: &Client, name: &str) -> Result<NodeId, Failure> {
    let page: Page<Node> = client.get(&format!("/nodes?limit={NODES_MAX}")).await?;
    let ids = page.items.iter().filter(|node| node.name == name).map(|node| node.id);
    only(ids, &format!("node is called {name}"), "crowdcloud nodes list")
}

/// The only one of those that were meant.
fn only<T>(mut meant: impl Iterator<Item = T>, what: &str, list: &str) -> Result<T, Failure> {
    match (meant.next(), meant.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("More than one {what}")).help(format!("name it by its id: {list}")))
        }
        (None, _) => Err(Failure::new(Exit::NotFound, "not_found", format!("No {what}")).help(list)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_of_them_or_none() {
        let among = |ids: &[u8]| only(ids.iter().copied(), "node is called attic", "crowdcloud nodes list");
        assert_eq!(among(&[7]).unwrap(), 7);
        assert_eq!(among(&[]).err().unwrap().exit(), Exit::NotFound);
        assert_eq!(among(&[7, 8]).err().unwrap().exit(), Exit::Usage);
    }
}
