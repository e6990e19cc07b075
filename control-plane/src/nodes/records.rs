//! Node records: rows in the database, and their copies in the `cc-nodes` bucket for gateways.

use protocol::node::{NodeEvent, NodeRecord, NodeState, Registration, TrustLevel};
use protocol::route::Scope;
use protocol::{AccountId, ByteSize, Code, Digest, NodeId, PlacementClass, Problem, Timestamp, TokenId, text, wire};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _,
    sea_query::OnConflict,
};

use super::{Joining, standing, tokens, trust};
use crate::config::{LocalJoin, LocalNode};
use crate::db::columns::Col;
use crate::db::entities::{accounts, members, node_tokens, nodes, users};
use crate::db::{Actor, Committed, Db, Mutation, loops};
use crate::error::{Error, Result, invalid, refuse};
use crate::identity::caller::Caller;
use crate::routes_outbox::NODE;

/// Characters of the reason why a node is suspended.
const REASON_LENGTH_MAX: usize = 200;
/// Why the nodes of an account left that is no more.
pub(crate) const ACCOUNT_DELETED: &str = "its account was deleted";

/// Makes rows for the operator's own nodes, and has them join.
pub(crate) async fn ensure_local(db: &Db, joining: &Joining, local: &[LocalNode]) -> Result<()> {
    make_rows(db, local).await?;
    for node in local {
        let Some(join) = &node.join else { continue };
        // One that cannot join says hello in vain, and is told why.
        match join_local(db, joining, node, join).await {
            Err(Error::Refused(problem)) => tracing::error!(node = %node.id, %problem, "a local node cannot join"),
            joined => joined?,
        }
    }
    Ok(())
}

/// Spends a token that is made for it here, unless its keys are registered already.
async fn join_local(db: &Db, joining: &Joining, node: &LocalNode, join: &LocalJoin) -> Result<()> {
    let registration: Registration =
        wire::read(join.register.registration.as_bytes()).map_err(|error| Error::Internal(error.to_string()))?;
    let row = nodes::Entity::find_by_id(Col(node.id)).one(db.read()).await?;
    if row.is_some_and(|row| row.nats_key.as_ref() == Some(&registration.keys.nats)) {
        return Ok(());
    }
    note_token(db, node, join, registration.token).await?;
    let (_, _committed) = joining.register(db, &join.register).await?;
    Ok(())
}

/// Notes the token, unless another control plane has done so at this moment.
async fn note_token(db: &Db, node: &LocalNode, join: &LocalJoin, token: TokenId) -> Result<()> {
    let mutation = db.mutation().await?;
    if node_tokens::Entity::find_by_id(Col(token)).one(mutation.tx()).await?.is_some() {
        return Ok(());
    }
    let account = operator_account(&mutation).await?;
    let draft = tokens::Draft {
        id: token,
        account,
        node: node.id,
        key: join.token_key,
        class: node.class,
        name: Some(node.name.clone()),
        lasts: tokens::LOCAL_LASTS,
    };
    tokens::insert(&mutation, draft).await?;
    // Nobody listens yet.
    let _: Committed = mutation.commit(&Actor::platform(), account, "node_token.create", token).await?;
    Ok(())
}

/// What has become of a node.
pub(crate) struct Changed {
    pub(crate) node: NodeId,
    /// What it is told, where the platform no longer speaks with it.
    pub(crate) why: Option<Problem>,
    pub(crate) committed: Committed,
}

/// A change of a node's standing: who does it, and what it is called.
pub(crate) struct Change<'a> {
    pub(crate) event: NodeEvent,
    pub(crate) reason: Option<&'a str>,
    pub(crate) actor: &'a Actor,
    pub(crate) action: &'static str,
}

/// Changes a node's standing: gateways hear of it by the outbox.
pub(crate) async fn change(mut mutation: Mutation, row: &nodes::Model, change: Change<'_>) -> Result<Changed> {
    let impossible = || match row.state.0 {
        state if state.is_gone() => refuse(Code::NodeLeft, "It is no node any more."),
        state => refuse(Code::NodeState, format!("The node is {state}.")),
    };
    let state = row.state.after(change.event).ok_or_else(impossible)?;
    set_state(&mut mutation, row, (state, change.reason), change.actor).await?;
    let account = row.account_id.map(|account| account.0);
    let committed = mutation.commit(change.actor, account, change.action, row.id.0).await?;
    Ok(Changed { node: row.id.0, why: standing::refusal(state, change.reason), committed })
}

/// Notes where a node is now, and tells gateways of it.
async fn set_state(
    mutation: &mut Mutation,
    row: &nodes::Model,
    (state, reason): (NodeState, Option<&str>),
    by: &Actor,
) -> Result<()> {
    nodes::Entity::update_many()
        .set(nodes::ActiveModel {
            state: Set(state.into()),
            state_reason: Set(reason.map(str::to_owned)),
            state_since: Set(mutation.at().into()),
            state_by: Set((!state.is_member()).then(|| by.0.clone())),
            barred: match state {
                NodeState::Suspended => Set(reason.map(str::to_owned)),
                // Whoever leaves takes along what is held against the machine.
                NodeState::Left | NodeState::Revoked => NotSet,
                _ => Set(None),
            },
            ..Default::default()
        })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    mutation.tell(row.account_id.map(|account| account.0), NODE, row.id.to_string(), String::new());
    Ok(())
}

/// The nodes of an account that ends: those that joined leave, and are returned; those that are configured stay, and are
/// nobody's. Nobody joins with its tokens any more.
pub(crate) async fn end_with_account(mutation: &mut Mutation, account: AccountId, by: &Actor) -> Result<Vec<NodeId>> {
    node_tokens::Entity::delete_many()
        .filter(node_tokens::Column::AccountId.eq(Col(account)))
        .exec(mutation.tx())
        .await?;
    let there = nodes::Column::State.is_not_in(NodeState::GONE.map(Col));
    let of_account = nodes::Entity::find().filter(nodes::Column::AccountId.eq(Col(account))).filter(there);
    let mut left = Vec::new();
    for row in of_account.all(mutation.tx()).await? {
        // Tokens make no other class.
        if *row.class == PlacementClass::Any {
            set_state(mutation, &row, (NodeState::Left, Some(ACCOUNT_DELETED)), by).await?;
            left.push(row.id.0);
            continue;
        }
        nodes::Entity::update_many()
            .set(nodes::ActiveModel { account_id: Set(None), ..Default::default() })
            .filter(nodes::Column::Id.eq(row.id))
            .exec(mutation.tx())
            .await?;
        mutation.tell(None, NODE, row.id.to_string(), String::new());
    }
    Ok(left)
}

/// `POST /nodes/{id}/revoke`: of the account's own nodes, and for the operator of any.
pub(crate) async fn revoke(db: &Db, caller: &Caller, node: NodeId) -> Result<Changed> {
    let account = caller.require(Scope::Admin)?;
    let operator = caller.user.as_ref().is_some_and(|user| user.operator);
    let mutation = db.mutation().await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(mutation.tx()).await?;
    let row = row.filter(|row| operator || row.account_id == Some(Col(account)));
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The account has no such node."))?;
    let reason = Some("it was revoked");
    let revoked = Change { event: NodeEvent::Revoke, reason, actor: &caller.actor, action: "node.revoke" };
    change(mutation, &row, revoked).await
}

/// `POST /nodes/{id}/suspend`: for the operator, of any node. Its owner reads the reason.
pub(crate) async fn suspend(db: &Db, caller: &Caller, node: NodeId, reason: &str) -> Result<Changed> {
    let (mutation, row) = of_operator(db, caller, node).await?;
    let reason = reason.trim().trim_end_matches('.');
    if reason.is_empty() || reason.chars().count() > REASON_LENGTH_MAX {
        return Err(invalid("reason", format!("`reason` has 1 to {REASON_LENGTH_MAX} characters")));
    }
    text::check("reason", reason)?;
    let (event, action) = (NodeEvent::Suspend, "node.suspend");
    change(mutation, &row, Change { event, reason: Some(reason), actor: &caller.actor, action }).await
}

/// `POST /nodes/{id}/resume`: for the operator, of a node that was suspended, or whose machine may not join anew.
pub(crate) async fn resume(db: &Db, caller: &Caller, node: NodeId) -> Result<Changed> {
    let (mutation, row) = of_operator(db, caller, node).await?;
    let (event, action) = (NodeEvent::Lift, "node.resume");
    if row.barred.is_some() && row.state.0 != NodeState::Suspended {
        nodes::Entity::update_many()
            .set(nodes::ActiveModel { barred: Set(None), ..Default::default() })
            .filter(nodes::Column::Id.eq(row.id))
            .exec(mutation.tx())
            .await?;
        let account = row.account_id.map(|account| account.0);
        let committed = mutation.commit(&caller.actor, account, action, node).await?;
        let why = standing::refusal(row.state.0, row.state_reason.as_deref());
        return Ok(Changed { node, why, committed });
    }
    change(mutation, &row, Change { event, reason: None, actor: &caller.actor, action }).await
}

async fn of_operator(db: &Db, caller: &Caller, node: NodeId) -> Result<(Mutation, nodes::Model)> {
    if !caller.user()?.operator {
        return Err(refuse(Code::Forbidden, "The operator alone decides this."));
    }
    let mutation = db.mutation().await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(mutation.tx()).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "There is no such node."))?;
    Ok((mutation, row))
}

async fn make_rows(db: &Db, local: &[LocalNode]) -> Result<()> {
    for node in local {
        if nodes::Entity::find_by_id(Col(node.id)).one(db.read()).await?.is_some() {
            continue;
        }
        let mutation = db.mutation().await?;
        let owner = operator_account(&mutation).await?;
        // Another control plane may do the same at this moment.
        let made = nodes::Entity::insert(nodes::ActiveModel {
            id: Set(node.id.into()),
            account_id: Set(owner.map(Col)),
            name: Set(node.name.clone()),
            class: Set(node.class.into()),
            public_key: Set(None),
            nats_key: Set(None),
            ticket_key: Set(None),
            arch: Set(String::new()),
            os: Set(String::new()),
            software: Set(String::new()),
            protocol: Set(0),
            cores: Set(0),
            memory: Set(ByteSize(0).into()),
            lanes: Set(Vec::new().into()),
            slots: Set(0),
            checkpoint: Set(0),
            checkpoint_digest: Set(Digest([0; 32]).into()),
            created: Set(Timestamp::now().into()),
            hello: Set(None),
            state: Set(NodeState::Joining.into()),
            state_reason: Set(None),
            state_since: Set(mutation.at().into()),
            machine: Set(None),
            caps: Set(None),
            wish: Set(None),
            machine_boot: Set(None),
            starts: Set(0),
            start: Set(None),
            level: Set(trust::fixed(node.class).unwrap_or(TrustLevel::New).into()),
            ..Default::default()
        })
        .on_conflict(OnConflict::column(nodes::Column::Id).do_nothing().to_owned())
        .exec_without_returning(mutation.tx())
        .await;
        if matches!(made, Err(DbErr::RecordNotInserted) | Ok(0)) {
            continue;
        }
        made?;
        // Nobody listens yet.
        let _: Committed = mutation.commit(&Actor::platform(), owner, "node.create", node.id).await?;
    }
    Ok(())
}

/// The first account that the operator owns.
async fn operator_account(mutation: &Mutation) -> Result<Option<AccountId>> {
    let operator = users::Entity::find().filter(users::Column::Operator.eq(true)).one(mutation.tx()).await?;
    let Some(operator) = operator else { return Ok(None) };
    let of = members::Entity::find().filter(members::Column::UserId.eq(operator.id)).all(mutation.tx()).await?;
    let ids = of.into_iter().filter(|member| *member.role == protocol::api::Role::Owner).map(|m| m.account_id);
    let first = accounts::Entity::find().filter(accounts::Column::Id.is_in(ids)).one(mutation.tx()).await?;
    Ok(first.map(|account| account.id.0))
}

/// Nodes without an owner become the operator's.
pub(crate) async fn adopt(mutation: &Mutation, account: AccountId) -> Result<()> {
    nodes::Entity::update_many()
        .set(nodes::ActiveModel { account_id: Set(Some(account.into())), ..Default::default() })
        .filter(nodes::Column::AccountId.is_null())
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// The records of all whom the platform speaks with, as they belong in the bucket. A node that nobody owns yet has the nil account.
pub(crate) async fn all(db: &Db) -> Result<Vec<NodeRecord>> {
    let rows = loops::nodes_all().all(db.read()).await?;
    Ok(rows.into_iter().filter(|row| row.state.is_member()).map(record).collect())
}

/// The record of one; refuses a node that the platform does not speak with, and says why. A gateway asks that has not
/// heard of it.
pub(crate) async fn one(db: &Db, node: NodeId) -> Result<NodeRecord> {
    let row = nodes::Entity::find_by_id(Col(node)).one(db.read()).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The platform does not know this node."))?;
    standing::check(&row)?;
    Ok(record(row))
}

fn record(row: nodes::Model) -> NodeRecord {
    let nobody = AccountId::from_uuid(uuid::Uuid::nil());
    NodeRecord {
        node: row.id.0,
        account: row.account_id.map_or(nobody, |account| account.0),
        class: row.level.class(),
        trust: Some(trust::of(&row)),
        name: row.name,
        arch: row.arch,
        protocol: u16::try_from(row.protocol).unwrap_or(0),
        key: row.public_key.and_then(|key| key.parse().ok()),
        disks: row.disks.map_or_else(Vec::new, |disks| disks.0),
    }
}
