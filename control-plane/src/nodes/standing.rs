//! Whether the platform still speaks with a node; and how the node hears that it does not.

use std::time::Duration;

use fabric::{CallOptions, Fabric, NodeEndpoint, Target};
use protocol::node::NodeState;
use protocol::{AccountId, Code, Digest, NodeId, Problem};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use crate::db::columns::Col;
use crate::db::entities::nodes;
use crate::error::Result;

/// A node that is told that it is none any more says so within this.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// Nodes of one machine, against which something is held, that are looked at.
const BARRED_MAX: u64 = 100;

/// What a node is told that was suspended, or that has left.
pub(crate) fn refusal(state: NodeState, reason: Option<&str>) -> Option<Problem> {
    let why = reason.unwrap_or("no reason is noted");
    match state {
        NodeState::Suspended => {
            Some(Problem::new(Code::NodeSuspended, format!("The operator has suspended it: {why}.")))
        }
        NodeState::Left | NodeState::Revoked => {
            Some(Problem::new(Code::NodeLeft, format!("It is no node any more: {why}.")))
        }
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

/// Refuses a machine against which something is held since it was lent before: by another token, and for another account, it
/// is the same machine. Of another account's node only the id is told.
pub(super) async fn may_join<C: ConnectionTrait>(connection: &C, account: AccountId, machine: Digest) -> Result<()> {
    let of_machine = nodes::Entity::find().filter(nodes::Column::Machine.eq(Col(machine)));
    let barred = of_machine.filter(nodes::Column::Barred.is_not_null()).limit(BARRED_MAX).all(connection).await?;
    let is_own = |row: &&nodes::Model| row.account_id == Some(Col(account));
    let Some(row) = barred.iter().find(is_own).or(barred.first()) else { return Ok(()) };
    let node = row.id.0;
    let ask = format!("ask the operator, who lets it in again: `crowdcloud nodes resume {node} --as-operator`.");
    let (detail, help) = if is_own(&row) {
        let why = row.barred.as_deref().unwrap_or_default();
        let detail = format!("This machine was lent before, as {} ({node}), and is shut out: {why}.", row.name);
        let help = match row.state.0.is_member() {
            true => format!("Go on with that node's data folder, for the account's own runs; or {ask}"),
            false => format!("There is one way: {ask}"),
        };
        (detail, help)
    } else {
        let detail = format!("This machine was lent before, for another account, as {node}, and is shut out.");
        let copied = "Where its disk or its image is a copy, its id (`/etc/machine-id`) may be another machine's.";
        (detail, format!("There is one way: {ask} {copied}"))
    };
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
