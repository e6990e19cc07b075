//! What owners want of their nodes from afar: a node hears it at once, or with its next hello. And what it says of itself.

use std::time::Duration;

use bytes::Bytes;
use fabric::{CallOptions, Fabric, NodeEndpoint, Target};
use http::{Request, header};
use http_body_util::{BodyExt as _, Limited};
use protocol::api::NodeDetails;
use protocol::node::{Above, NodeStatus, NodeWish, RevisedWish};
use protocol::route::Scope;
use protocol::{AccountId, Code, NodeId, Problem, Timestamp, wire};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::details::{self, Viewer};
use super::standing;
use crate::App;
use crate::db::Committed;
use crate::db::columns::{Col, signed};
use crate::db::entities::nodes;
use crate::error::{Result, invalid, refuse};
use crate::etag::{self, IfMatch};
use crate::identity::caller::Caller;

/// A node that does not say how it is within this is shown without.
const STATUS_WITHIN: Duration = Duration::from_millis(800);
const STATUS_BYTES_MAX: usize = 64 << 10;

fn no_such_node() -> crate::error::Error {
    refuse(Code::NotFound, "The account has no such node.")
}

async fn row<C: ConnectionTrait>(connection: &C, node: NodeId) -> Result<nodes::Model> {
    nodes::Entity::find_by_id(Col(node)).one(connection).await?.ok_or_else(no_such_node)
}

/// The ETag of what is wanted of a node, be it nothing yet.
pub(super) fn etag(row: &nodes::Model) -> String {
    etag::of(row.wish.map_or(0, |wish| signed(wish.0.revision)))
}

/// `PUT /nodes/{id}/wish`: of the account's own nodes alone.
pub(crate) async fn put(
    app: &App,
    caller: &Caller,
    node: NodeId,
    if_match: &IfMatch,
    wish: NodeWish,
) -> Result<NodeDetails> {
    let viewer = Viewer::of(caller, Scope::Admin)?;
    let (row, told, committed) = note(app, caller, (viewer.account, node), if_match, wish).await?;
    let body = Bytes::from(serde_json::to_vec(&told).unwrap_or_default());
    let request = Request::post("/wish").header(header::CONTENT_TYPE, "application/json");
    let now = ask(app, &row, request, body).await;
    app.announce(committed).await;
    let row = nodes::Model { wish: Some(Col(told)), ..row };
    details::of(app, row, viewer, now).await
}

async fn note(
    app: &App,
    caller: &Caller,
    (account, node): (AccountId, NodeId),
    if_match: &IfMatch,
    wish: NodeWish,
) -> Result<(nodes::Model, RevisedWish, Committed)> {
    let mutation = app.db.mutation().await?;
    let row = row(mutation.tx(), node).await?;
    if row.account_id != Some(Col(account)) {
        return Err(no_such_node());
    }
    standing::check(&row)?;
    let before = row.wish.map_or_else(RevisedWish::default, |wish| wish.0);
    let tag = etag(&row);
    // Where nothing is wished for, nothing is lost.
    match before.wish == NodeWish::default() {
        true => if_match.check(Some(&tag))?,
        false => if_match.require(&tag)?,
    }
    check(&row, &wish, mutation.at())?;
    let told = before.followed_by(wish, mutation.at());
    nodes::Entity::update_many()
        .set(nodes::ActiveModel { wish: Set(Some(Col(told))), ..Default::default() })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    let action = action(&before.wish, &told.wish);
    let committed = mutation.commit(&caller.actor, Some(account), action, node).await?;
    Ok((row, told, committed))
}

/// As the audit calls it.
fn action(before: &NodeWish, after: &NodeWish) -> &'static str {
    match after.pause {
        same if same == before.pause => "node.caps",
        Some(pause) if pause.drain => "node.drain",
        Some(_) => "node.pause",
        None => "node.resume",
    }
}

/// A wish that cannot be, or that asks for more than was agreed on the machine. A node that has not told what was agreed
/// keeps to it by itself.
fn check(row: &nodes::Model, wish: &NodeWish, now: Timestamp) -> Result<()> {
    if let Err(below) = wish.caps.suffice() {
        return Err(invalid(format!("caps.{}", below.cap), below.to_string()));
    }
    if wish.pause.and_then(|pause| pause.until).is_some_and(|until| until <= now) {
        return Err(invalid("pause.until", "this time is over"));
    }
    row.caps.map_or(Ok(()), |agreed| agreed.allow(&wish.caps)).map_err(|Above { cap, agreed }| {
        let detail = format!("`caps.{cap}`: {agreed} was agreed on the machine, and from here it is only lowered.");
        let help = format!("Raise it on the machine: crowdcloud lend caps set --{cap} ...");
        Problem::of(Code::InvalidField, format!("caps.{cap}"), detail).with_help(help).into()
    })
}

/// How a node is, as it says to its owner.
pub(super) async fn status(app: &App, row: &nodes::Model) -> Option<NodeStatus> {
    ask(app, row, Request::get("/status"), Bytes::new()).await
}

/// What a node says of itself to its owner; none where it does not, or not what can be.
async fn ask(app: &App, row: &nodes::Model, request: http::request::Builder, body: Bytes) -> Option<NodeStatus> {
    let fabrics = app.fabrics.as_ref()?;
    if !row.state.is_member() || app.nodes.last_of(app, row.id.0).0.is_none() {
        return None;
    }
    let status = call(&fabrics.nodes, row.id.0, request.body(fabric::full(body)).ok()?).await;
    status.inspect_err(|why| tracing::debug!(node = %row.id.0, why, "a node does not say how it is")).ok()
}

async fn call(nodes: &Fabric, node: NodeId, request: Request<fabric::Body>) -> Result<NodeStatus, String> {
    let options = CallOptions { deadline: STATUS_WITHIN, accept_within: STATUS_WITHIN };
    let target = Target::Node(node, NodeEndpoint::Control);
    let reply = nodes.call(target, request, options).await.map_err(|error| error.to_string())?;
    let status = reply.response.status();
    let body = Limited::new(reply.response.into_body(), STATUS_BYTES_MAX).collect();
    let body = tokio::time::timeout(STATUS_WITHIN, body).await.map_err(|error| error.to_string())?;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        return Err(format!("it responded {status}"));
    }
    let status: NodeStatus = wire::read(&body).map_err(|error| error.to_string())?;
    status.check().map_err(|malformed| malformed.to_string())?;
    Ok(status)
}
