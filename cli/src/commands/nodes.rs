//! Lenders' machines, and the tokens with which they join.

mod named;
pub(super) mod operator;
mod show;
mod wish;

use protocol::api::{CreateNodeToken, Node, NodeToken, SuspendNode};
use protocol::node::{Confinement, JoinToken, NodeState, VmLane, WishedPause};
use protocol::{NodeId, Timestamp};
use serde::Serialize;

use self::operator::Asking;
use crate::args::{List, NodeTokens, Nodes};
use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{paused, table, time};
use crate::prompt;

/// `nodes`
pub(crate) async fn nodes(context: &Context, verb: Option<Nodes>) -> Result<(), Failure> {
    let client = || context.client();
    let Some(verb) = verb else { return list_nodes(context, &client()?, &List::first(), false).await };
    match verb {
        Nodes::List { list, all, who } => {
            let asking = Asking::of(context, who).await?;
            let listed = list_nodes(context, &asking.client, &list, all).await;
            asking.end(listed).await
        }
        Nodes::Show { node, who } => {
            let asking = Asking::of(context, who).await?;
            let shown = show::show(context, &asking.client, &node).await;
            asking.end(shown).await
        }
        Nodes::Pause { node, lasts } => pause(context, &client()?, &node, wish::lasting(lasts, false)).await,
        Nodes::Drain { node } => pause(context, &client()?, &node, wish::lasting(None, true)).await,
        // A key cannot do this: the user has to.
        Nodes::Confirm { node, fingerprint, credentials } => {
            show::confirm(context, &node, fingerprint, credentials).await
        }
        Nodes::Vouch { whom, whole_account, withdraw, credentials } => {
            show::vouch(context, &whom, (whole_account, withdraw), credentials).await
        }
        Nodes::Tokens { verb } => {
            tokens(context, &client()?, verb.unwrap_or_else(|| NodeTokens::List(List::first()))).await
        }
        Nodes::Revoke { node, who } => {
            prompt::confirm(&context.output, &format!("Revoke {node} for good"))?;
            let asking = Asking::of(context, who).await?;
            let revoked = change(&asking.client, &node, "revoke", &serde_json::json!({})).await;
            let id = asking.end(revoked).await?;
            context.output.result(&serde_json::json!({ "revoked": id }), || format!("revoked {node}"))
        }
        Nodes::Suspend { node, reason, credentials } => {
            let asking = Asking::operator(context, credentials).await?;
            let suspended = suspend(&asking.client, &node, reason).await;
            let (id, same_machine) = asking.end(suspended).await?;
            context.output.result(&serde_json::json!({ "suspended": id }), || format!("suspended {node}"))?;
            if !same_machine.is_empty() {
                let others: Vec<String> = same_machine.iter().map(ToString::to_string).collect();
                context.output.note(format!("other nodes of the same machine go on: {}", others.join(", ")));
            }
            Ok(())
        }
        Nodes::Resume { node, who } => {
            let is_operator = who.as_operator;
            let asking = Asking::of(context, who).await?;
            let resumed = resume(context, &asking.client, &node, is_operator).await;
            asking.end(resumed).await
        }
    }
}

/// What the operator has suspended comes back by the operator alone; a pause by its owner.
async fn resume(context: &Context, client: &Client, node: &str, is_operator: bool) -> Result<(), Failure> {
    let detail = named::find(client, node).await?;
    let (id, state) = (detail.node.id, detail.node.state);
    // What is held against a machine stays with it, also where its node may go on or has left.
    let is_barred = state == NodeState::Suspended || is_operator && (state.is_gone() || detail.lied.is_some());
    if !is_barred {
        return wish::pause(context, client, &detail, None).await;
    }
    if !is_operator {
        let reason = detail.node.state_reason.unwrap_or_default();
        return Err(Failure::new(Exit::Authentication, "forbidden", format!("The operator has suspended {node}"))
            .why(reason)
            .help("the operator lets it in again: crowdcloud nodes resume NODE --as-operator"));
    }
    change(client, &id.to_string(), "resume", &serde_json::json!({})).await?;
    context.output.result(&serde_json::json!({ "resumed": id }), || format!("resumed {node}"))?;
    context.output.note(match state {
        NodeState::Suspended => "it comes back by itself within minutes, where `crowdcloud lend` runs on the machine",
        _ => "its machine may join again, with a token of its own",
    });
    Ok(())
}

/// Suspends the node of this name or id; its id, and other nodes of the same machine.
async fn suspend(client: &Client, node: &str, reason: String) -> Result<(NodeId, Vec<NodeId>), Failure> {
    let id = change(client, node, "suspend", &SuspendNode { reason }).await?;
    Ok((id, named::by_id(client, id).await?.same_machine))
}

/// Changes the node of this name or id; its id.
async fn change(client: &Client, node: &str, what: &str, body: &impl Serialize) -> Result<NodeId, Failure> {
    let id = named::find_id(client, node).await?;
    let request = client.api(reqwest::Method::POST, &format!("/nodes/{}/{what}", segment(&id.to_string())))?;
    client.send(request.json(body)).await.map(|_| id)
}

async fn tokens(context: &Context, client: &Client, verb: NodeTokens) -> Result<(), Failure> {
    match verb {
        NodeTokens::Create { name } => create_token(context, client, name).await,
        NodeTokens::List(list) => {
            super::show_page::<NodeToken>(context, client, "/nodes/tokens", &list, |tokens| {
                let now = Timestamp::now();
                let rows = tokens.iter().map(|token| {
                    let state = match token.used {
                        Some(at) => format!("used {}", time(at)),
                        None if token.expires <= now => "expired".to_owned(),
                        None => format!("until {}", time(token.expires)),
                    };
                    let node = token.node.map_or_else(|| "-".to_owned(), |node| node.to_string());
                    [token.id.to_string(), token.name.clone().unwrap_or_default(), state, node]
                });
                table(["id", "name", "state", "node"], rows)
            })
            .await
        }
        NodeTokens::Delete { token } => {
            let id = named::find_token(client, &token).await?;
            client.delete(&format!("/nodes/tokens/{}", segment(&id.to_string()))).await?;
            context.output.result(&serde_json::json!({ "deleted": id }), || format!("deleted {token}"))
        }
    }
}

async fn pause(context: &Context, client: &Client, node: &str, pause: WishedPause) -> Result<(), Failure> {
    let detail = named::find(client, node).await?;
    wish::pause(context, client, &detail, Some(pause)).await
}

async fn list_nodes(context: &Context, client: &Client, list: &List, all: bool) -> Result<(), Failure> {
    let path = if all { "/nodes?all=true" } else { "/nodes" };
    super::show_page::<Node>(context, client, path, list, |nodes| {
        let rows = nodes.iter().map(|node| {
            [
                node.name.clone(),
                node.id.to_string(),
                node.state.to_string(),
                node.level.map(|level| level.to_string()).unwrap_or_default(),
                node.arch.clone(),
                node.lanes.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                vm(node.vm.as_ref()),
                confined(node.confinement.as_ref()),
                format!("{}/{}", node.running, node.slots),
                format!("{}/{}", node.memory_free, node.memory),
                format!("{:.0}%", node.load * 100.0),
            ]
        });
        table(["name", "id", "state", "trust", "arch", "lanes", "vm", "confined", "runs", "memory free", "load"], rows)
    })
    .await
}

async fn create_token(context: &Context, client: &Client, name: Option<String>) -> Result<(), Failure> {
    let made: NodeToken = client.post("/nodes/tokens", &CreateNodeToken { name }).await?;
    let Some(token) = &made.token else {
        // Something on the way has repeated the request.
        let lost = Failure::new(Exit::Conflict, "secret_lost", format!("The token {} was made, unseen", made.id));
        return Err(lost.help(made.help.unwrap_or_default()));
    };
    context.output.result(&made, || format!("crowdcloud lend --token {token}"))?;
    context.output.note("type it on the machine within an hour: it works once, and is not shown again");
    if let Ok(parsed) = token.parse::<JoinToken>() {
        let origin = parsed.origin;
        let line = format!("curl -fsSL {origin}/install.sh | sh -s -- --token {token}");
        context.output.note(format!("where the program is not there yet: {line}"));
    }
    Ok(())
}

/// Where it is, and why.
fn state(node: &Node) -> String {
    match (node.state, node.paused, &node.state_reason) {
        (NodeState::Paused | NodeState::Draining, Some(reason), _) => paused(reason),
        (NodeState::Suspended | NodeState::Left, _, Some(reason)) => format!("{}: {reason}", node.state),
        (state, ..) => state.to_string(),
    }
}

/// How far what a guest could break out into is confined.
fn confined(confinement: Option<&Confinement>) -> String {
    match confinement {
        None => "-".to_owned(),
        Some(Confinement::Full) => "yes".to_owned(),
        Some(Confinement::Partial { missing }) => format!("but for {missing}"),
        Some(Confinement::None { missing }) => format!("no: {missing}"),
    }
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
