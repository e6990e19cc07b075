//! Whether the platform still speaks with a node; and how the node hears that it does not.

use std::time::Duration;

use fabric::{CallOptions, Fabric, NodeEndpoint, Target};
use protocol::node::NodeState;
use protocol::{AccountId, Code, Digest, NodeId, Problem};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use crate::db::columns::Col;
use crate::db::entities::nodes;
use crate::error::Result;

/// A node that is told that it is none any more says so within this.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// What a node is told that was suspended, or that has left.
pub(crate) fn refusal(state: NodeState, reason: Option<&str>) -> Option<Problem> {
    let why = reason.unwrap_or("no reason is noted");
    match state {
        NodeState::Suspended => {
            Some(Problem::new(Code::NodeSuspended, format!("The operator has suspended it: {why}.")))
        }
        NodeState::Left => Some(Problem::new(Code::NodeLeft, format!("It is no node any more: {why}."))),
        _ => None,
    }
}

/// Refuses a node that was suspended, or that has left.
pub(crate) fn check(row: &nodes::Model) -> Result<()> {
    refusal(row.state.0, row.state_reason.as_deref()).map_or(Ok(()), |problem| Err(problem.into()))
}

/// The same of a node's request. Of one that is unknown, whoever answers says so.
pub(crate) async fn of<C: ConnectionTrait>(connection: &C, node: NodeId) -> Result<()> {
    let row = nodes::Entity::find_by_id(Col(node)).one(connection).await?;
    row.map_or(Ok(()), |row| check(&row))
}

/// Refuses a machine that the account has lent, and against which something is held since: by another token it is the same.
pub(super) async fn may_join<C: ConnectionTrait>(connection: &C, account: AccountId, machine: Digest) -> Result<()> {
    let barred = nodes::Entity::find()
        .filter(nodes::Column::AccountId.eq(Col(account)))
        .filter(nodes::Column::Machine.eq(Col(machine)))
        .filter(nodes::Column::Barred.is_not_null())
        .one(connection)
        .await?;
    let Some((row, why)) = barred.and_then(|mut row| row.barred.take().map(|why| (row, why))) else { return Ok(()) };
    let (name, node) = (row.name, row.id.0);
    let ask = format!("ask the operator, who lets it in again: `crowdcloud nodes resume {node} --as-operator`.");
    let help = match row.state.0.is_member() {
        true => format!("Go on with that node's data folder, for the account's own runs; or {ask}"),
        false => format!("There is one way: {ask}"),
    };
    let detail = format!("This machine was lent before, as {name} ({node}), and is shut out: {why}.");
    Err(Problem::new(Code::NodeSuspended, detail).with_help(help).into())
}

/// Tells a node why it is none any more, so that it ends by itself. One that does not hear it learns it with its next hello.
pub(crate) async fn tell(nodes: &Fabric, node: NodeId, why: &Problem) {
    let Ok(body) = serde_json::to_vec(why) else { return };
    let request = http::Request::post("/end").header(http::header::CONTENT_TYPE, "application/json");
    let Ok(request) = request.body(fabric::full(body)) else { return };
    let options = CallOptions { deadline: TOLD_WITHIN, accept_within: TOLD_WITHIN };
    if let Err(error) = nodes.call(Target::Node(node, NodeEndpoint::Control), request, options).await {
        tracing::debug!(%node, %error, "a node was not told that it is shut out");
    }
}
