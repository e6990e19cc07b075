//! How far each node is trusted: what is noted of it, the level that follows, and what its owner and the operator say.

use std::collections::HashSet;
use std::time::Duration;

use protocol::api::{ConfirmNode, Role, Vouch};
use protocol::node::{CheckOutcome, NodeTrust, PublicKey, TrustLevel, TrustRecord};
use protocol::{AccountId, Code, Name, NodeId, PlacementClass, RunId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _,
};

use super::standing;
use crate::db::columns::{Col, signed};
use crate::db::entities::{accounts, node_checks, nodes};
use crate::db::{Actor, Committed, Db, Mutation, loops};
use crate::error::{Result, invalid, refuse, refuse_field};
use crate::identity::caller::Caller;
use crate::routes_outbox::NODE;

/// Checks are kept for 90 days.
const CHECKS_KEPT_MS: i64 = 90 * 86_400_000;
/// Of what was measured earlier, so much goes with each measurement.
const SPEED_FADES: i32 = 8;
/// Why a machine whose node has lied joins no more.
const LIED: &str = "it returned a wrong result";

/// The level of nodes that are configured.
pub(crate) const fn fixed(class: PlacementClass) -> Option<TrustLevel> {
    match class {
        PlacementClass::Operator => Some(TrustLevel::Operator),
        PlacementClass::Verified => Some(TrustLevel::Verified),
        PlacementClass::Own | PlacementClass::Any => None,
    }
}

/// What placement goes by.
pub(crate) fn of(row: &nodes::Model) -> NodeTrust {
    NodeTrust {
        level: row.level.0,
        confirmed: row.confirmed.is_some() || row.class.0 == PlacementClass::Operator,
        lied: row.lied.is_some(),
        agreed: count(row.agreed),
    }
}

/// What the level goes by; `vouched` are the accounts that the operator vouches for.
pub(crate) fn record(row: &nodes::Model, vouched: &HashSet<AccountId>) -> TrustRecord {
    TrustRecord {
        fixed: fixed(row.class.0),
        joined: row.created.0,
        agreed: count(row.agreed),
        agreed_with_operator: count(row.agreed_operator),
        lied: row.lied.is_some(),
        proven: row.proven.map(|at| at.0),
        vouched: row.vouched.is_some() || row.account_id.is_some_and(|account| vouched.contains(&account.0)),
    }
}

/// What a machine's owner compares before they confirm it: of the key that the node is known by.
pub(crate) fn fingerprint(row: &nodes::Model) -> Option<String> {
    row.public_key.as_deref()?.parse::<PublicKey>().ok().map(|key| key.fingerprint())
}

pub(crate) fn count(column: i32) -> u32 {
    u32::try_from(column).unwrap_or(0)
}

/// The accounts that the operator vouches for.
pub(crate) async fn vouched<C: ConnectionTrait>(connection: &C) -> Result<HashSet<AccountId>, DbErr> {
    let ids: Vec<Col<AccountId>> = loops::accounts_vouched().into_tuple().all(connection).await?;
    Ok(ids.into_iter().map(|id| id.0).collect())
}

/// A check that is over.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) node: NodeId,
    pub(crate) run: RunId,
    pub(crate) outcome: CheckOutcome,
    /// Its other side was the operator's: the result was known, or comes from one of its nodes.
    pub(crate) with_operator: bool,
    pub(crate) wall: Option<Duration>,
    /// Turns of the loop in a millisecond.
    pub(crate) speed: Option<u32>,
    pub(crate) detail: Option<String>,
}

/// Notes a check. One that differs is a proven lie: it ends all trust, for everybody to see at once.
pub(crate) async fn note(db: &Db, check: Check) -> Result<Option<Committed>> {
    let lied = check.outcome == CheckOutcome::Differed;
    if !lied {
        let tx = db.begin_bulk().await?;
        write(&tx, &check, Timestamp::now()).await?;
        tx.commit().await?;
        return Ok(None);
    }
    let mut mutation = db.mutation().await?;
    write(mutation.tx(), &check, mutation.at()).await?;
    let row = nodes::Entity::find_by_id(Col(check.node)).one(mutation.tx()).await?;
    let Some(row) = row else { return Ok(None) };
    let level = fixed(row.class.0).unwrap_or(TrustLevel::New);
    let lie = nodes::ActiveModel {
        lied: Set(Some(row.lied.unwrap_or(mutation.at().into()))),
        proven: Set(None),
        level: Set(level.into()),
        barred: Set(Some(row.barred.unwrap_or_else(|| LIED.to_owned()))),
        ..Default::default()
    };
    nodes::Entity::update_many().set(lie).filter(nodes::Column::Id.eq(row.id)).exec(mutation.tx()).await?;
    let account = row.account_id.map(|account| account.0);
    mutation.tell(account, NODE, row.id.to_string(), String::new());
    Ok(Some(mutation.commit(&Actor::platform(), account, "node.lied", row.id.0).await?))
}

async fn write<C: ConnectionTrait>(connection: &C, check: &Check, at: Timestamp) -> Result<(), DbErr> {
    let wall = check.wall.map(|wall| signed(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)));
    node_checks::Entity::insert(node_checks::ActiveModel {
        run_id: Set(check.run.into()),
        node_id: Set(check.node.into()),
        at: Set(at.into()),
        outcome: Set(check.outcome.into()),
        with_operator: Set(check.with_operator),
        wall_us: Set(wall),
        detail: Set(check.detail.clone()),
    })
    .exec_without_returning(connection)
    .await?;
    let agreed = check.outcome == CheckOutcome::Agreed;
    let more = |column: nodes::Column, by: bool| Expr::col(column).add(i32::from(by));
    let mut update = nodes::Entity::update_many()
        .col_expr(nodes::Column::Asked, more(nodes::Column::Asked, true))
        .col_expr(nodes::Column::Answered, more(nodes::Column::Answered, check.outcome != CheckOutcome::Failed))
        .col_expr(nodes::Column::Agreed, more(nodes::Column::Agreed, agreed))
        .col_expr(nodes::Column::AgreedOperator, more(nodes::Column::AgreedOperator, agreed && check.with_operator));
    if let (true, Some(speed)) = (agreed, check.speed) {
        let row = nodes::Entity::find_by_id(Col(check.node)).one(connection).await?;
        let before = row.and_then(|row| row.speed).unwrap_or(0);
        let speed = Ord::max(i32::try_from(speed).unwrap_or(i32::MAX), before - before / SPEED_FADES);
        update = update.col_expr(nodes::Column::Speed, speed.into());
    }
    update.filter(nodes::Column::Id.eq(Col(check.node))).exec(connection).await?;
    Ok(())
}

/// Gives a node the level that it has earned; none where it has that already.
pub(crate) async fn settle(db: &Db, node: NodeId, now: Timestamp) -> Result<Option<Committed>> {
    let mut mutation = db.mutation().await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(mutation.tx()).await?;
    let Some(row) = row.filter(|row| row.state.is_member()) else { return Ok(None) };
    let earned = record(&row, &vouched(mutation.tx()).await?).level(now);
    if earned == row.level.0 {
        return Ok(None);
    }
    level(&mutation, &row, earned).await?;
    let account = row.account_id.map(|account| account.0);
    mutation.tell(account, NODE, row.id.to_string(), String::new());
    Ok(Some(mutation.commit(&Actor::platform(), account, reached(earned), node).await?))
}

async fn level(mutation: &Mutation, row: &nodes::Model, earned: TrustLevel) -> Result<(), DbErr> {
    let proven = (earned >= TrustLevel::Proven).then(|| row.proven.unwrap_or(mutation.at().into()));
    nodes::Entity::update_many()
        .set(nodes::ActiveModel { level: Set(earned.into()), proven: Set(proven), ..Default::default() })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// As the audit calls it.
const fn reached(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::New => "node.new",
        TrustLevel::Proven => "node.proven",
        TrustLevel::Verified => "node.verified",
        TrustLevel::Operator => "node.operator",
    }
}

/// `POST /nodes/{id}/confirm`: its owner has compared name and fingerprint on the machine. A key cannot do it: whoever has
/// found one may have found a token, too.
pub(crate) async fn confirm(db: &Db, caller: &Caller, node: NodeId, asked: &ConfirmNode) -> Result<Committed> {
    caller.user()?;
    let account = caller.require_role(Role::Admin)?;
    let mut mutation = db.mutation().await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(mutation.tx()).await?;
    let row = row.filter(|row| row.account_id == Some(Col(account)));
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The account has no such node."))?;
    standing::check(&row)?;
    if asked.name != row.name {
        return Err(invalid("name", "`name` is not what the node is called"));
    }
    let known = fingerprint(&row).ok_or_else(|| refuse(Code::NodeState, "The machine has not joined yet."))?;
    if asked.fingerprint.trim() != known {
        let detail =
            "The fingerprint is not the node's. Another machine may have joined with the token: revoke the node.";
        return Err(refuse_field(Code::InvalidField, "fingerprint", detail));
    }
    nodes::Entity::update_many()
        .set(nodes::ActiveModel {
            confirmed: Set(Some(row.confirmed.unwrap_or(mutation.at().into()))),
            ..Default::default()
        })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    mutation.tell(Some(account), NODE, row.id.to_string(), String::new());
    Ok(mutation.commit(&caller.actor, Some(account), "node.confirm", node).await?)
}

/// `POST /nodes/vouch`: the operator vouches for a node, or for all of an account, or does no longer. The levels follow at
/// once.
pub(crate) async fn vouch(db: &Db, caller: &Caller, asked: &Vouch) -> Result<Committed> {
    if !caller.user()?.operator {
        return Err(refuse(Code::Forbidden, "Only the operator vouches for nodes."));
    }
    let mut mutation = db.mutation().await?;
    let vouched_at = (!asked.withdraw).then(|| mutation.at().into());
    if let (Some(_), Some(name)) = (&asked.node, &asked.account)
        && account_called(&mutation, name).await?.is_some()
    {
        let detail = format!("`account`: `{name}` is an account, too: name the account or the node alone, by its id");
        return Err(invalid("account", detail));
    }
    let (target, account) = match (&asked.node, &asked.account) {
        (Some(node), _) => {
            let row = nodes::Entity::find_by_id(Col(*node)).one(mutation.tx()).await?;
            let row = row.ok_or_else(|| refuse_field(Code::NotFound, "node", "There is no such node."))?;
            nodes::Entity::update_many()
                .set(nodes::ActiveModel { vouched: Set(vouched_at), ..Default::default() })
                .filter(nodes::Column::Id.eq(row.id))
                .exec(mutation.tx())
                .await?;
            (node.to_string(), row.account_id.map(|account| account.0))
        }
        (None, Some(name)) => {
            let row = account_called(&mutation, name).await?;
            let row = row.ok_or_else(|| refuse_field(Code::NotFound, "account", "There is no such account."))?;
            accounts::Entity::update_many()
                .set(accounts::ActiveModel { vouched: Set(vouched_at), ..Default::default() })
                .filter(accounts::Column::Id.eq(row.id))
                .exec(mutation.tx())
                .await?;
            (row.id.to_string(), Some(row.id.0))
        }
        (None, None) => return Err(invalid("node", "`node` or `account` is named")),
    };
    follow(&mut mutation, asked, account).await?;
    let action = if asked.withdraw { "node.vouch.withdraw" } else { "node.vouch" };
    Ok(mutation.commit(&caller.actor, account, action, target).await?)
}

async fn account_called(mutation: &Mutation, name: &Name) -> Result<Option<accounts::Model>> {
    let row = accounts::Entity::find().filter(accounts::Column::Name.eq(Col(name.clone())));
    Ok(row.filter(accounts::Column::Deleted.is_null()).one(mutation.tx()).await?)
}

/// The levels of the nodes that a vouch concerns.
async fn follow(mutation: &mut Mutation, asked: &Vouch, account: Option<AccountId>) -> Result<()> {
    let concerned = match asked.node {
        Some(node) => nodes::Column::Id.eq(Col(node)),
        None => nodes::Column::AccountId.eq(account.map(Col)),
    };
    let (rows, vouched) =
        (nodes::Entity::find().filter(concerned).all(mutation.tx()).await?, vouched(mutation.tx()).await?);
    for row in rows.into_iter().filter(|row| row.state.is_member()) {
        let earned = record(&row, &vouched).level(mutation.at());
        if earned != row.level.0 {
            level(mutation, &row, earned).await?;
            mutation.tell(row.account_id.map(|account| account.0), NODE, row.id.to_string(), String::new());
        }
    }
    Ok(())
}

/// Deletes checks that are too old; the counts stay.
pub(crate) async fn prune(db: &Db) -> Result<(), DbErr> {
    let before = Timestamp(Timestamp::now().0.saturating_sub(CHECKS_KEPT_MS));
    loops::delete_in_steps(db, |most| loops::node_checks_too_old(before, most)).await
}
